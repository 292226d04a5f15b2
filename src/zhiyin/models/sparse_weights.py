"""Weights from rows to items, in large catalogues most of them nothing: how they are kept, what rows say together."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from scipy import sparse
from scipy.sparse import _sparsetools

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.models import Parameters
from zhiyin.core.results import Contributions
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


def rounded(scores: FloatVector, parts: FloatMatrix) -> Contributions:
    """`parts` (items, events) of `scores` (items,): what sums over the cells were rounded by is in the base."""
    return Contributions(scores - parts.sum(axis=1), parts)


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

    @cached_property
    def _by_item(self) -> Sparse:
        """The same in compressed columns, made when somebody first asks why: of a few items, rows are far more."""
        return self._cells.tocsc()

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
        return _SparseSums(self._cells, histories, lambda: self._by_item)


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
    """by_item: gives the columns of `cells`."""

    def __init__(self, cells: Sparse, histories: Sequence[Held], by_item: Callable[[], Sparse]) -> None:
        self._histories, self._by_item = histories, by_item
        self.scores = np.zeros((len(histories), cells.shape[1]))
        for history, (rows, values) in enumerate(histories):
            self.scores[history] = _sum_of_rows(cells, rows, values)

    def parts(self, history: int, items: IntVector) -> FloatMatrix:
        rows, values = self._histories[history]
        columns = self._by_item()
        starts, stops = columns.indptr[items], columns.indptr[items + 1]
        ends = np.cumsum(stops - starts)
        # One for each row, since pages of zeros that nothing is written to cost nothing.
        place = np.zeros(columns.shape[0], np.int32)
        place[rows] = np.arange(1, len(rows) + 1)
        cells = [columns.indices[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        row = place[np.concatenate([np.zeros(0, np.int32), *cells])]
        found = np.flatnonzero(row)
        column = np.searchsorted(ends, found, side="right")
        # Of a row that is held several times, at its last place.
        weights = np.zeros((len(rows), len(items)))
        weights[row[found] - 1, column] = columns.data[found + (stops - ends)[column]]
        told: FloatMatrix = values[:, None] * weights[place[rows] - 1]
        return told


def _sum_of_rows(cells: Sparse, rows: IntVector, values: FloatVector) -> FloatVector:
    """`values @ cells[rows]` (items,) float64, as exact as the cells.

    What SciPy does for that product, without the matrices that it is asked for by, whose making takes longer than the
    sum. Rows go from the last to the first: what it takes for a column between two of them ends before it begins.
    """
    largest = np.abs(values).max(initial=0.0)
    if not largest:
        return np.zeros(cells.shape[1])
    order = np.argsort(-rows)
    starts = np.empty(2 * len(rows), cells.indptr.dtype)
    starts[::2], starts[1::2] = cells.indptr[rows[order]], cells.indptr[rows[order] + 1]
    counts, scores = np.zeros(len(starts) - 1, cells.dtype), np.zeros(cells.shape[1], cells.dtype)
    # What is left of events long ago may be less than cells can hold.
    counts[::2] = values[order] / largest
    _sparsetools.csc_matvec(len(scores), len(counts), starts, cells.indices, cells.data, counts, scores)
    return scores * np.float64(largest)
