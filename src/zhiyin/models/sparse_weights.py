"""Weights from rows to items, in large catalogues most of them nothing: how they are kept, what rows say together."""

from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.models import Parameters
from zhiyin.models.inputs import Sparse

ARRAYS = frozenset({"indptr", "indices", "data"})


def to_arrays(weights: Sparse) -> Parameters:
    """The arrays of compressed sparse rows."""
    return {"indptr": weights.indptr.astype(np.int64), "indices": weights.indices, "data": weights.data}


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

    def added_up(self, rows: IntVector, values: FloatVector) -> FloatVector:
        """(items,) the `rows`, each times its value."""
        told = self._cells[rows]
        if isinstance(told, np.ndarray):
            return values @ told.astype(np.float64)
        return np.asarray(told.T @ values, np.float64)

    def between(self, rows: IntVector, items: IntVector) -> FloatMatrix:
        """(rows, items) float64, some of the weights."""
        if isinstance(self._cells, np.ndarray):
            return self._cells[np.ix_(rows, items)].astype(np.float64)
        asked, place = np.unique(rows, return_inverse=True)
        if not len(asked):
            return np.zeros((0, len(items)))
        # Few items are asked for, and few rows speak for one: fewer cells than the rows hold, by far.
        starts = self._by_item.indptr[items]
        lengths = self._by_item.indptr[items + 1] - starts
        cells = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        found = self._by_item.indices[cells]
        row = np.searchsorted(asked, found)
        met = np.flatnonzero(asked[np.minimum(row, len(asked) - 1)] == found)
        told = np.zeros((len(asked), len(items)))
        told[row[met], np.repeat(np.arange(len(items)), lengths)[met]] = self._by_item.data[cells[met]]
        return told[place]

    @cached_property
    def _by_item(self) -> Sparse:
        """(items, rates * items)"""
        return self._cells.T.tocsr()
