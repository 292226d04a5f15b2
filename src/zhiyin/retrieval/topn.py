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
    _check_length(n)
    queries, _ = scores.shape
    rows = np.full((queries, n), UNKNOWN, np.int64)
    best = np.full((queries, n), np.nan, np.float64)
    allowed = None if eligible is None else np.broadcast_to(eligible, scores.shape)
    for query in range(queries):
        found, reached = best_of(scores[query], n, None if allowed is None else allowed[query])
        rows[query, : len(found)], best[query, : len(found)] = found, reached
    return TopN(rows, best)


def best_of(scores: FloatVector, n: int, eligible: BoolVector | None = None) -> tuple[IntVector, FloatVector]:
    """Rows and scores of the at most `n` best of one line of `scores` (items,), as `top_n` finds them, best first.

    Nothing where nothing is `eligible` (items,). Raises `InputError` as `top_n` does.
    """
    _check_length(n)
    if not len(scores):
        return np.empty(0, np.int64), np.empty(0)
    masked = scores if eligible is None else np.where(eligible, scores, -np.inf)
    if np.isnan(masked.max()):
        raise InputError("a model gave a score that is not a number; train it again or choose another model")
    rows = np.flatnonzero(masked >= _bar(masked, n))
    if eligible is not None:
        rows = rows[eligible[rows]]
    best = rows[np.argsort(-masked[rows], kind="stable")[:n]]
    return best, scores[best].astype(np.float64)


def lifted(scores: FloatVector, lift: FloatVector | None) -> FloatVector:
    """(items,) with `lift` (items,) more, in standard deviations of the `scores`, whatever a model's scale is."""
    return scores if lift is None else scores + lift * (float(scores.std()) or 1.0)


def _check_length(n: int) -> None:
    if n < 1:
        raise InputError(f"a list must have at least one place, not {n}")


def _bar(scores: FloatVector, n: int) -> float:
    """What at least `n` of the `scores` reach, where there are so many, and few more do.

    The best of each block is one that reaches the `n`-th best of the blocks, which are few to sort.
    """
    width = max(1, len(scores) // (BLOCKS * n))
    blocks = len(scores) // width
    best = scores[: blocks * width].reshape(blocks, width).max(axis=1)
    place = max(blocks - n, 0)
    return float(np.partition(best, place)[place])
