"""Histories as the numbers that linear models read."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import DAY, History

Sparse: TypeAlias = Any
"""A compressed sparse row matrix."""


def parts_of(rows: IntVector, sizes: IntVector, most: int) -> list[IntVector]:
    """`rows` in their order, in parts whose `sizes` add up to about `most`."""
    return np.split(rows, np.flatnonzero(np.diff(np.cumsum(sizes) // most)) + 1)


def decay(timestamps: IntVector, now: int | None, half_life_days: float | None) -> FloatVector:
    """(n,) float64: one half for each `half_life_days` between an event and `now` (None: the latest event).

    An event of unknown time counts like the oldest known one.
    """
    factors = np.ones(len(timestamps))
    known = timestamps != MISSING_TIME
    if half_life_days is None or not known.any():
        return factors
    times = timestamps[known].astype(np.float64)
    latest = times.max() if now is None else float(now)
    factors[known] = np.exp2(-np.maximum(latest - times, 0.0) / (DAY * half_life_days))
    factors[~known] = factors[known].min()
    return factors


def faded_likes(data: Dataset, half_life_days: float | None) -> FloatVector:
    """(items,) summed positive weights of an item's events, halved for each half life before the last known event."""
    events = data.histories
    weights = np.maximum(events.weights.astype(np.float64), 0.0)
    weights *= decay(events.timestamps, data.now, half_life_days)
    return np.asarray(np.bincount(events.items, weights, len(data.items)), np.float64)


def evidence(
    history: History, n_items: int, *, binary: bool = True, half_life_days: float | None = None
) -> tuple[IntVector, FloatVector]:
    """(n,) item rows and (n,) float64 positive evidence, event by event.

    The events of one item share what its summed weight says (1 where `binary`); an item whose sum is not above zero,
    and a row outside the vocabulary, gives nothing.
    """
    known = (history.items >= 0) & (history.items < n_items)
    items = np.where(known, history.items, 0)
    if not len(items):
        return items, np.zeros(0)
    weights = np.where(known, history.weights.astype(np.float64), 0.0)
    _, place = np.unique(items, return_inverse=True)
    net = np.bincount(place, weights)[place]
    likes = np.maximum(weights, 0.0)
    liked = np.bincount(place, likes)[place]
    value = np.ones(len(items)) if binary else net
    shares = np.divide(likes, liked, out=np.zeros(len(items)), where=(liked > 0) & (net > 0))
    return items, value * shares * decay(history.timestamps, None, half_life_days)


def recent_shares(
    history: History, n_items: int, last: int, half_life_days: float | None
) -> tuple[IntVector, FloatVector]:
    """(n,) item rows and (n,) shares, event by event, of the `last` events in what they say; they add up to 1."""
    items, values = evidence(history, n_items, half_life_days=half_life_days)
    values[: max(0, len(values) - last)] = 0.0
    total = values.sum()
    return items, values / total if total > 0 else values


def query_rows(
    queries: Sequence[Query], n_items: int, *, binary: bool = True, half_life_days: float | None = None
) -> Sparse:
    """(queries, items) float64, repeats added up."""
    parts = [evidence(query.history, n_items, binary=binary, half_life_days=half_life_days) for query in queries]
    rows = np.repeat(np.arange(len(parts)), [len(items) for items, _ in parts])
    items = np.concatenate([items for items, _ in parts]) if parts else np.zeros(0, np.int64)
    values = np.concatenate([values for _, values in parts]) if parts else np.zeros(0)
    kept = values > 0
    matrix: Any = sparse.coo_matrix((values[kept], (rows[kept], items[kept])), (len(parts), n_items)).tocsr()
    matrix.sum_duplicates()
    return matrix


def training_rows(data: Dataset, *, binary: bool = True) -> Sparse:
    """(users, items) float64 of the positive interactions."""
    cells = data.histories.matrix(len(data.items))
    values = np.ones(len(cells.data)) if binary else cells.data.astype(np.float64)
    shape = (len(data.histories), len(data.items))
    return sparse.csr_matrix((values, cells.indices, cells.indptr), shape)
