"""Lists that are the same for everybody: what is popular, and what came last."""

from collections.abc import Sequence

import numpy as np

from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.views import ItemView
from zhiyin.core.arrays import BoolVector, IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.histories import History

Scored = list[tuple[ItemView, float]]


def popular_of(state: ServingState, mask: BoolVector, n: int, now: int) -> Scored:
    """At most `n` items of the `mask`, the most popular first, with the scores of the fallback."""
    rows = state.popular_order[mask[state.popular_order]][:n]
    scores = state.fallback.score([Query(History.of_items([]), now)])[0]
    return _scored(state, rows, scores[rows].tolist())


def latest_of(state: ServingState, mask: BoolVector, n: int) -> Scored:
    """At most `n` items of the `mask` by the time from which they are to be had, the last first, with that time in
    seconds; those that tell none come behind, the ones that the shop added last before the others.
    """
    rows = np.flatnonzero(mask)[::-1]
    seconds = np.maximum(state.catalog.available_from[rows], 0) / 1000
    order = np.argsort(-seconds, kind="stable")[:n]
    return _scored(state, rows[order], seconds[order].tolist())


def _scored(state: ServingState, rows: IntVector, scores: Sequence[float]) -> Scored:
    return [(state.view(int(row)), score) for row, score in zip(rows, scores, strict=True)]
