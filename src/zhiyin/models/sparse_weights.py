"""Weights from rows to items, most of them nothing: how they are kept, and what rows say together."""

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.core.models import Parameters
from zhiyin.models.inputs import Sparse

ARRAYS = frozenset({"indptr", "indices", "data"})


def to_arrays(weights: Sparse) -> Parameters:
    """The arrays of compressed sparse rows."""
    return {"indptr": weights.indptr.astype(np.int64), "indices": weights.indices, "data": weights.data}


def from_arrays(arrays: Parameters, rates: int = 1) -> Sparse:
    """(rates * items, items)"""
    n_rows = len(arrays["indptr"]) - 1
    cells = arrays["data"], arrays["indices"], arrays["indptr"]
    return sparse.csr_matrix(cells, (n_rows, n_rows // rates))


def added_up(weights: Sparse, rows: IntVector, values: FloatVector) -> FloatVector:
    """(items,) the `rows` of the weights, each times its value."""
    told = weights[rows]
    cells: FloatVector = np.repeat(values, np.diff(told.indptr)) * told.data
    return np.asarray(np.bincount(told.indices, cells, told.shape[1]), np.float64)
