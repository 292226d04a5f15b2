"""Items near one item, as far as the model has a notion of nearness."""

import numpy as np

from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.views import ItemView
from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.dataset import Query
from zhiyin.core.histories import History
from zhiyin.core.models import AdditiveModel, ItemDirections, Model, VectorModel
from zhiyin.retrieval.topn import top_n


def similar_to(state: ServingState, row: int, n: int, now: int) -> list[tuple[ItemView, float]]:
    """At most `n` eligible items with their nearness, the nearest first."""
    scores = None if state.alike else _nearness(state.model, row, now)
    if scores is None:
        return []
    mask = state.eligibility.mask(now, np.asarray([row], np.int64))
    best = top_n(scores[None, :], n, mask)
    return [(state.view(int(r)), float(s)) for r, s in zip(best.rows[0], best.scores[0], strict=True) if r >= 0]


def _nearness(model: Model, row: int, now: int) -> FloatVector | None:
    if isinstance(model, ItemDirections):
        return _cosines(model.item_directions(), row)
    if isinstance(model, VectorModel):
        return _cosines(model.item_vectors(), row)
    if isinstance(model, AdditiveModel):
        scores: FloatVector = model.score([Query(History.of_items([row]), now)])[0]
        return scores
    return None


def _cosines(matrix: FloatMatrix, row: int) -> FloatVector:
    """(items,) of each row of `matrix` (items, dim) with one of them, 0 where either is zero."""
    vectors = np.asarray(matrix, np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines: FloatVector = vectors @ vectors[row] / np.maximum(lengths * lengths[row], np.finfo(np.float64).tiny)
    return cosines
