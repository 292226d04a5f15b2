"""Exact top-N: every eligible item is looked at, ties are broken the same way every time."""

from typing import NamedTuple

import numpy as np

from zhiyin.core.arrays import FloatMatrix, IntMatrix
from zhiyin.core.errors import InputError
from zhiyin.core.vocabulary import UNKNOWN


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
    if np.isnan(scores).any(where=allowed):
        raise InputError("a model gave a score that is not a number; train it again or choose another model")
    queries, items = scores.shape
    rows = np.full((queries, n), UNKNOWN, np.int64)
    best = np.full((queries, n), np.nan, np.float64)
    if not items:
        return TopN(rows, best)
    masked = np.where(allowed, scores, -np.inf)
    place = max(items - n, 0)
    threshold = np.partition(masked, place, axis=1)[:, place]
    query, row = np.nonzero((masked >= threshold[:, None]) & allowed)
    order = np.lexsort((row, -masked[query, row], query))
    query, row = query[order], row[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = rank < n
    query, row, rank = query[kept], row[kept], rank[kept]
    rows[query, rank] = row
    best[query, rank] = scores[query, row]
    return TopN(rows, best)
