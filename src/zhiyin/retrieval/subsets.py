"""What a filter leaves of a catalogue, kept side by side for whoever asks through the same one next."""

import threading
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.retrieval.topn import best_of

KEPT = 4
"""Subsets; the latest that were of use."""

WORTH_KEEPING = 2_000
"""Items from which on it takes longer to pick them out of all than to go through them."""

BESIDE = 0.02
"""Share of a subset that may be allowed beside it: people have seen different items of one category."""

LARGER = 1.5
"""Times what is allowed, that a subset may hold."""


@dataclass(frozen=True, eq=False)
class Subset:
    """rows: (k,) sorted. inside: (items,) which are among them. table: (k, dim) their vectors."""

    rows: IntVector
    inside: BoolVector
    table: NDArray[np.float32]

    @classmethod
    def of(cls, mask: BoolVector, vectors: FloatMatrix) -> Self:
        rows = np.flatnonzero(mask)
        return cls(rows, mask.copy(), vectors[rows].astype(np.float32))

    def serves(self, mask: BoolVector, allowed: int) -> bool:
        if not allowed <= (1 + BESIDE) * len(self.rows) <= LARGER * (1 + BESIDE) * allowed:
            return False
        return allowed - int(np.count_nonzero(mask[self.rows])) <= BESIDE * len(self.rows)

    def near(self, query: FloatVector, n: int, mask: BoolVector) -> IntVector:
        """Rows where `mask` is true, with the best `n` by numbers of single precision among them."""
        told = self.table @ query.astype(np.float32)
        best, _ = best_of(told, n, mask[self.rows])
        beside = np.flatnonzero(mask & ~self.inside)
        return np.concatenate([self.rows[best], beside])


class Subsets:
    """Those of the first items of a catalogue whose vectors stay as they are."""

    def __init__(self) -> None:
        self._kept: list[Subset] = []
        self._changing = threading.Lock()

    def near(self, query: FloatVector, vectors: FloatMatrix, n: int, mask: BoolVector) -> IntVector:
        """Rows where `mask` (items,) is true, with the `n` best among them. vectors: (items, dim)."""
        allowed = int(np.count_nonzero(mask))
        if allowed <= WORTH_KEEPING:
            return np.flatnonzero(mask)
        found = next((each for each in self._kept if each.serves(mask, allowed)), None)
        if found is None:
            found = Subset.of(mask, vectors)
        with self._changing:
            self._kept = [found, *(each for each in self._kept if each is not found)][:KEPT]
        return found.near(query, n, mask)
