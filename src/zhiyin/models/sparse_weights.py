"""Weights from rows to items, in large catalogues most of them nothing: how they are kept, what rows say together."""

from typing import Any

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.models import Parameters
from zhiyin.models.inputs import Sparse

ARRAYS = frozenset({"indptr", "indices", "data"})


def to_arrays(weights: Sparse) -> Parameters:
    """The arrays of compressed sparse rows."""
    return {"indptr": weights.indptr.astype(np.int64), "indices": weights.indices, "data": weights.data}


def from_arrays(arrays: Parameters, rates: int = 1) -> Any:
    """(rates * items, items): compressed rows, or an array where more cells than not hold something."""
    n_rows = len(arrays["indptr"]) - 1
    cells = arrays["data"], arrays["indices"], arrays["indptr"]
    weights: Sparse = sparse.csr_matrix(cells, (n_rows, n_rows // rates))
    return weights.toarray() if 2 * weights.nnz > n_rows * weights.shape[1] else weights


def between(weights: Any, rows: IntVector, items: IntVector) -> FloatMatrix:
    """(rows, items) float64, some of the weights."""
    told = weights[rows][:, items]
    return np.asarray(told if isinstance(told, np.ndarray) else told.toarray(), np.float64)


def added_up(weights: Any, rows: IntVector, values: FloatVector) -> FloatVector:
    """(items,) the `rows` of the weights, each times its value."""
    told = weights[rows]
    if isinstance(told, np.ndarray):
        return values @ told.astype(np.float64)
    cells: FloatVector = np.repeat(values, np.diff(told.indptr)) * told.data
    return np.asarray(np.bincount(told.indices, cells, told.shape[1]), np.float64)
