"""Exact top-N: every eligible item is looked at, ties are broken the same way every time."""

from typing import NamedTuple

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntMatrix, IntVector
from zhiyin.core.errors import InputError
from zhiyin.core.vocabulary import UNKNOWN

BLOCKS = 8
"""For each place of a list."""


class TopN(NamedTuple):
    """Best first. rows: (queries, n), `UNKNOWN` where fewer are eligible. scores: the same shape, NaN there."""

    rows: IntMatrix
    scores: FloatMatrix


def top_n(scores: FloatMatrix, n: int, eligible: np.ndarray | None = None) -> TopN:
    """The `n` best eligible items of each line of `scores` (queries, items).

    eligible: bool, (items,) for all queries or (queries, items). Of equal scores the lower row comes first.
    Raises `InputError` when `n` is below 1, or when an eligible score is NaN.
    """
    if n < 1:
        raise InputError(f"a list must have at least one place, not {n}")
    allowed = np.broadcast_to(np.True_ if eligible is None else eligible, scores.shape)
    queries, items = scores.shape
    rows = np.full((queries, n), UNKNOWN, np.int64)
    best = np.full((queries, n), np.nan, np.float64)
    if not items:
        return TopN(rows, best)
    masked = np.where(allowed, scores, -np.inf)
    if np.isnan(masked.max(axis=1)).any():
        raise InputError("a model gave a score that is not a number; train it again or choose another model")
    query, row = np.divmod(np.flatnonzero((masked >= _bar(masked, n)[:, None]) & allowed), items)
    order = np.lexsort((row, -masked[query, row], query))
    query, row = query[order], row[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = rank < n
    query, row, rank = query[kept], row[kept], rank[kept]
    rows[query, rank] = row
    best[query, rank] = scores[query, row]
    return TopN(rows, best)


def best_of(scores: FloatVector, n: int, eligible: BoolVector | None = None) -> tuple[IntVector, FloatVector]:
    """Rows and scores of the at most `n` best of one line of `scores` (items,), as `top_n` finds them, best first.

    Nothing where nothing is `eligible` (items,). Raises `InputError` as `top_n` does otherwise.
    """
    if eligible is not None and not eligible.any():
        return np.empty(0, np.int64), np.empty(0)
    best = top_n(scores[None], n, eligible)
    found = best.rows[0] >= 0
    return best.rows[0][found], best.scores[0][found]


def lifted(scores: FloatVector, lift: FloatVector | None) -> FloatVector:
    """(items,) with `lift` (items,) more, in standard deviations of the `scores`, whatever a model's scale is."""
    return scores if lift is None else scores + lift * (float(scores.std()) or 1.0)


def _bar(scores: FloatMatrix, n: int) -> FloatVector:
    """(queries,) what at least `n` scores of each line reach, where there are so many, and few more do.

    The best of each block of a line is one that reaches the `n`-th best of the blocks, which are few to sort.
    """
    queries, items = scores.shape
    width = max(1, items // (BLOCKS * n))
    blocks = items // width
    best = scores[:, : blocks * width].reshape(queries, blocks, width).max(axis=2)
    place = max(blocks - n, 0)
    bar: FloatVector = np.partition(best, place, axis=1)[:, place]
    return bar
