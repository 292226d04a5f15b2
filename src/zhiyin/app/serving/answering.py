"""What the model that serves says of people: the best items for each, and why."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.models import AdditiveModel, Model, VectorModel
from zhiyin.core.results import Contributions
from zhiyin.core.scored import Scored, scored
from zhiyin.retrieval.topn import best_of, lifted
from zhiyin.retrieval.vector_index import VectorIndex


class Answer(ABC):
    """Of one query."""

    @abstractmethod
    def best(self, n: int, mask: BoolVector, lift: FloatVector | None = None) -> tuple[IntVector, FloatVector]:
        """Rows and scores of the at most `n` best where `mask` (items,) is true, best first, `lifted` where asked to.

        Raises `InputError` for n below 1.
        """

    @abstractmethod
    def contributions(self, items: IntVector) -> Contributions:
        """Of the scores of `items`, by a model that is an `AdditiveModel`."""


@dataclass(frozen=True, eq=False)
class ByScores(Answer):
    """Every item was scored. row: of the query, among those that were scored together."""

    scored: Scored
    row: int

    def best(self, n: int, mask: BoolVector, lift: FloatVector | None = None) -> tuple[IntVector, FloatVector]:
        return best_of(lifted(self.scored.scores[self.row], lift), n, mask)

    def contributions(self, items: IntVector) -> Contributions:
        return self.scored.contributions(self.row, items)


@dataclass(frozen=True, eq=False)
class ByIndex(Answer):
    """An index finds the items. vector: (dim,) of the query, vectors: (items, dim)."""

    index: VectorIndex
    model: Model
    query: Query
    vector: FloatVector
    vectors: FloatMatrix

    def best(self, n: int, mask: BoolVector, lift: FloatVector | None = None) -> tuple[IntVector, FloatVector]:
        if n < 1 or not mask.any():
            return best_of(np.zeros(len(mask)), n, mask)
        if lift is not None:
            # What is lifted may be anywhere, so each item is looked at.
            return best_of(lifted(np.asarray(self.vectors @ self.vector, np.float64), lift), n, mask)
        return self.index.best(self.vector, self.vectors, n, mask)

    def contributions(self, items: IntVector) -> Contributions:
        if not isinstance(self.model, AdditiveModel):
            raise NotImplementedError("this model has no exact parts: ask only what is an AdditiveModel")
        return self.model.contributions(self.query, items)


def answers(state: ServingState, queries: Sequence[Query]) -> list[Answer]:
    """What the model of a state says of each, asked together."""
    model = state.model
    if state.index is not None and isinstance(model, VectorModel):
        vectors = model.item_vectors()
        told = model.query_vectors(queries)
        return [
            ByIndex(state.index, model, query, vector, vectors) for query, vector in zip(queries, told, strict=True)
        ]
    together = scored(model, queries)
    return [ByScores(together, row) for row in range(len(queries))]
