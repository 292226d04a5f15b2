"""Rows of a sparse matrix without what hardly matters in them."""

import numpy as np

from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.models.inputs import Sparse, parts_of

CELLS = 1 << 22
"""Cells that are put in order at a time."""


def strongest(rows: Sparse, strength: FloatVector, most: IntVector) -> Sparse:
    """The cells of each row that are strongest, at most `most` (rows,) of them; the first ones among equals.

    rows: compressed, sparse; the strength of its cells (cells,) is in their order.
    """
    kept = np.ones(rows.nnz, np.bool_)
    lengths = np.diff(rows.indptr)
    long = np.flatnonzero(lengths > most)
    for group in parts_of(long, lengths[long], CELLS):
        sizes = lengths[group]
        starts = np.cumsum(sizes) - sizes
        places = np.arange(sizes.sum()) + np.repeat(rows.indptr[group] - starts, sizes)
        row = np.repeat(np.arange(len(group)), sizes)
        order = np.lexsort((-strength[places], row))
        rank = np.arange(len(order)) - np.repeat(starts, sizes)
        kept[places[order]] = rank < np.repeat(most[group], sizes)
    indptr = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return type(rows)((rows.data[kept], rows.indices[kept], indptr), rows.shape)
