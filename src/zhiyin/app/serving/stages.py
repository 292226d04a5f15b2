"""What making lists takes, by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PEOPLE, SCORES, PLACES, LOG = "people", "scores", "places", "log"
"""In their order: who asks is read, all that the model says of them, the items of each list with their reasons, and the
log of what was shown.
"""


def _nobody(_: str, __: float) -> None:
    """Does not listen."""


class Stages:
    """told: hears of every stage of every batch of lists, with its seconds."""

    def __init__(self, told: Callable[[str, float], None] = _nobody) -> None:
        self.told = told

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.told(stage, time.perf_counter() - began)
