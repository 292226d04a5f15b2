"""Time that the contenders of a comparison share."""

import time

LATER = 4.0
"""What is still to come of a contender, in times that it took to be fitted and judged once: to be weighed in the blend,
to be fitted again for the test and answer there with its own histories and with others', to be fitted on everything.
"""

TRAINED_LATER, WINNERS_SHARE = 2.5, 7 / 12
"""The same of a training, beside which answers take little; and how much of the time for choosing the best of four
settings is trained at those.
"""


class Budget:
    """Each contender may take an equal share of what is left, all included; what it spares the others get."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._reserved = 0.0

    def until(self, left: int, trained: bool = False) -> float | None:
        """The `time.monotonic()` at which the next of `left` contenders is to be chosen; None without a limit."""
        if self._ends is None:
            return None
        now = time.monotonic()
        later = TRAINED_LATER * WINNERS_SHARE if trained else LATER
        return now + (self._ends - now - self._reserved) / (left * (1 + later))

    def reserve(self, seconds: float, trained: bool = False) -> None:
        """For what is still to come of a contender that took so long."""
        self._reserved += (TRAINED_LATER if trained else LATER) * seconds
