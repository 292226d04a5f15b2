"""Time that the contenders of a comparison share."""

import time

LATER = 4.0
"""What is still to come of a contender, in times that it took to be fitted and judged once: to be weighed in the blend,
to be fitted again for the test and answer there with its own histories and with others', to be fitted on everything.
"""

TRAINED_LATER = 2.5
"""The same of a training, beside which answers take little."""


class Budget:
    """Each contender may take its share of what is left, all included; what it spares the others get."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._reserved = 0.0

    def until(self, share: float, later: float = LATER) -> float | None:
        """The `time.monotonic()` at which the next contender is to be chosen; None without a limit.

        share: of what is left. later: what is still to come of it then, in times that choosing takes.
        """
        if self._ends is None:
            return None
        now = time.monotonic()
        return now + share * (self._ends - now - self._reserved) / (1 + later)

    def reserve(self, seconds: float) -> None:
        """For what is still to come of a contender."""
        self._reserved += seconds
