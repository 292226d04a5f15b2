"""Time that the contenders of a comparison share."""

import time

REFITS = 2
"""Fits of a model beside the one that is judged on validation: for the test, and on everything."""


class Budget:
    """Each contender may take an equal share of what is left, later fits included; what it spares the others get."""

    def __init__(self, minutes: float | None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._reserved = 0.0

    def until(self, left: int) -> float | None:
        """The `time.monotonic()` at which the next of `left` contenders is to be chosen; None without a limit."""
        if self._ends is None:
            return None
        now = time.monotonic()
        return now + (self._ends - now - self._reserved) / (left * (1 + REFITS))

    def reserve(self, seconds: float) -> None:
        """For the later fits of a contender that took so long to fit."""
        self._reserved += REFITS * seconds
