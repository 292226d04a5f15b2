"""Weights from rows to items, in large catalogues most of them nothing: how they are kept, what rows say together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.models import Parameters
from zhiyin.core.scored import ScoringModel
from zhiyin.models.inputs import Sparse

ARRAYS = frozenset({"indptr", "indices", "data"})

AT_ONCE = 16
"""Histories whose sums are made together, where many are asked for."""

Held: TypeAlias = tuple[IntVector, FloatVector]
"""The rows (r,) that a history holds, and what each counts."""


def to_arrays(weights: Sparse) -> Parameters:
    """The arrays of compressed sparse rows."""
    return {"indptr": weights.indptr.astype(np.int64), "indices": weights.indices, "data": weights.data}


def scores_of(model: ScoringModel, queries: Sequence[Query], n_items: int) -> FloatMatrix:
    """(queries, items) of a model that keeps what it scores, some queries at a time."""
    scores = np.zeros((len(queries), n_items))
    for start in range(0, len(queries), AT_ONCE):
        scores[start : start + AT_ONCE] = model.scored(queries[start : start + AT_ONCE]).scores
    return scores


class Sums(ABC):
    """What histories say by the rows they hold. scores: (histories, items) float64, of each the same in any company."""

    scores: FloatMatrix

    @abstractmethod
    def parts(self, history: int, items: IntVector) -> FloatMatrix:
        """(r, items) what each row that the history holds adds to its scores of `items`."""


class Weights:
    """cells: (rates * items, items) compressed rows, or an array."""

    def __init__(self, cells: Any) -> None:
        self._cells = cells
        self.n_items = int(cells.shape[1])

    @classmethod
    def from_arrays(cls, arrays: Parameters, rates: int = 1) -> Self:
        """As an array where more cells than not hold something."""
        n_rows = len(arrays["indptr"]) - 1
        cells = arrays["data"], arrays["indices"], arrays["indptr"]
        weights: Sparse = sparse.csr_matrix(cells, (n_rows, n_rows // rates))
        return cls(weights.toarray() if 2 * weights.nnz > n_rows * weights.shape[1] else weights)

    def sums(self, histories: Sequence[Held]) -> Sums:
        if isinstance(self._cells, np.ndarray):
            return _DenseSums(self._cells, histories)
        return _SparseSums(self._cells, histories)


class _DenseSums(Sums):
    def __init__(self, cells: Any, histories: Sequence[Held]) -> None:
        self._cells, self._histories = cells, histories
        self.scores = np.zeros((len(histories), cells.shape[1]))
        for history, (rows, values) in enumerate(histories):
            self.scores[history] = values @ cells[rows].astype(np.float64)

    def parts(self, history: int, items: IntVector) -> FloatMatrix:
        rows, values = self._histories[history]
        told: FloatMatrix = values[:, None] * self._cells[np.ix_(rows, items)]
        return told


class _SparseSums(Sums):
    """Keeps the rows that were added up: they are few beside all, and tell the parts."""

    def __init__(self, cells: Sparse, histories: Sequence[Held]) -> None:
        rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in histories)])
        self._values = [values for _, values in histories]
        self._ends = np.cumsum([0, *map(len, self._values)])
        self._held: Sparse = cells[rows]
        self.scores = np.zeros((len(histories), cells.shape[1]))
        for history, values in enumerate(self._values):
            data, indices, indptr = self._rows_of(history)
            told: Sparse = sparse.csc_matrix((data, indices, indptr), (cells.shape[1], len(values)))
            self.scores[history] = told @ values

    def parts(self, history: int, items: IntVector) -> FloatMatrix:
        data, indices, indptr = self._rows_of(history)
        asked = np.zeros(self._held.shape[1], np.bool_)
        asked[items] = True
        cell = np.flatnonzero(asked[indices])
        row = np.searchsorted(indptr, cell, side="right") - 1
        # Of all items, since pages that nothing is written to cost nothing.
        turn = np.empty(self._held.shape[1], np.int64)
        turn[items] = np.arange(len(items))
        parts = np.zeros((len(indptr) - 1, len(items)))
        parts[row, turn[indices[cell]]] = self._values[history][row] * data[cell]
        return parts[:, turn[items]]

    def _rows_of(self, history: int) -> tuple[FloatVector, IntVector, IntVector]:
        """Data, columns and ends of the rows that the history holds."""
        first, behind = self._ends[history : history + 2]
        ends = self._held.indptr[first : behind + 1]
        cells = slice(ends[0], ends[-1])
        return self._held.data[cells], self._held.indices[cells], ends - ends[0]
