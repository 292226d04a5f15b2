"""Items that a step compares answers with, where it does not score all there are."""

import numpy as np

from zhiyin.core.arrays import FloatVector, IntVector


class Negatives:
    """Draws `number` items in proportion to their counts (items,), with replacement."""

    def __init__(self, counts: FloatVector, number: int) -> None:
        self._number = number
        self._logs: FloatVector = np.log(counts / counts.sum() * number)
        self._shares = np.cumsum(counts) / counts.sum()

    def drawn(self, generator: np.random.Generator) -> IntVector:
        """(number,)"""
        places = np.searchsorted(self._shares, generator.random(self._number), side="right")
        return np.minimum(places, len(self._shares) - 1)

    def log_expected(self, rows: IntVector) -> FloatVector:
        """(n,) the log of how often each of `rows` is expected among those drawn."""
        return self._logs[rows]
