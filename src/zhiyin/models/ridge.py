"""Ridge regressions of many items at once: W = (G + l2 I)^-1 A, one column for each item.

G is (rows, rows), the sums of products of what items are predicted from, and A (rows, items), those with what they are.
Solved as a whole that takes rows squared of memory and rows cubed of time. Solved on the rows alone that say most of an
item, as in SLIM with selected features (Ning and Karypis, 2011), both grow with the number of items.
"""

import numpy as np
from scipy import linalg

from zhiyin.core.arrays import FloatMatrix, IntMatrix, IntVector
from zhiyin.models.inputs import Sparse
from zhiyin.models.strongest import strongest

ALL_ROWS = 8_000
"""Rows from which all items are predicted without being told how many to use."""

LEAST_ROWS, MOST_ROWS, EVENTS_A_ROW = 100, 500, 4
"""Otherwise an item is predicted from one row for so many of its events, within these bounds."""

CELLS = 1 << 24
"""Numbers of the systems of equations that are held at a time."""


def support_of(given: int | None, rows: int, events: IntVector) -> IntVector | None:
    """(items,) from how many of the `rows` to predict items of so many `events` (items,); None from all.

    given: as many as that, whatever the events.
    """
    if given is not None:
        return np.full(len(events), given)
    return None if rows <= ALL_ROWS else np.clip(events // EVENTS_A_ROW, LEAST_ROWS, MOST_ROWS)


def solved(gram: FloatMatrix, answers: FloatMatrix, l2: float) -> FloatMatrix:
    """(rows, items); both matrices are overwritten, and best in Fortran's order."""
    gram[np.diag_indices(len(gram))] += l2
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    weights: FloatMatrix = linalg.cho_solve(factor, answers, overwrite_b=True, check_finite=False)
    return weights


def solved_on(gram: Sparse, answers: Sparse, l2: float, most: IntVector) -> Sparse:
    """(rows, items) with at most `most` (items,) rows for each, all others zero.

    They are those with the largest a_ri / sqrt(g_rr + l2): the length of the step that one row alone would take.
    """
    columns = answers.tocsc()
    scale = np.sqrt(gram.diagonal() + l2)
    weights = strongest(columns, columns.data / scale[columns.indices], most)
    sizes = np.diff(weights.indptr)
    lengths = np.diff(gram.indptr)
    for size in np.unique(sizes[sizes > 0]):
        items, step = np.flatnonzero(sizes == size), max(1, CELLS // int(size) ** 2)
        for start in range(0, len(items), step):
            places = weights.indptr[items[start : start + step], None] + np.arange(size)
            longest_first = np.argsort(-lengths[weights.indices[places]], axis=1)
            places = np.take_along_axis(places, longest_first, axis=1)
            systems = _between(gram, weights.indices[places])
            systems[:, np.arange(size), np.arange(size)] += l2
            answered = linalg.solve(systems, weights.data[places][..., None], assume_a="pos", check_finite=False)
            weights.data[places] = answered[..., 0]
    return weights.tocsr()


def _between(gram: Sparse, rows: IntMatrix) -> FloatMatrix:
    """(n, k, k) the cells of the symmetric `gram` between the `rows` (n, k), each looked for in the later one."""
    n, k = rows.shape
    later, earlier = np.tril_indices(k)
    found = np.asarray(gram[rows[:, later].ravel(), rows[:, earlier].ravel()]).reshape(n, -1)
    systems = np.empty((n, k, k), gram.dtype)
    systems[:, later, earlier] = systems[:, earlier, later] = found
    return systems
