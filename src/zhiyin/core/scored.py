"""What a model has scored, kept so that it can be asked why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.models import AdditiveModel, Model
from zhiyin.core.results import Contributions


class Scored(Protocol):
    @property
    def scores(self) -> FloatMatrix:
        """(queries, items)"""
        ...

    def contributions(self, row: int, items: IntVector) -> Contributions:
        """Of the scores of `items` by the query at `row`."""
        ...


@runtime_checkable
class ScoringModel(Protocol):
    """An additive model that explains what it has just scored for less than it would take anew."""

    def scored(self, queries: Sequence[Query]) -> Scored: ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """Scores of an additive model that explains each score anew."""

    model: AdditiveModel
    queries: Sequence[Query]
    scores: FloatMatrix

    def contributions(self, row: int, items: IntVector) -> Contributions:
        return self.model.contributions(self.queries[row], items)


@dataclass(frozen=True, eq=False)
class _Mute:
    """Scores of a model that has no exact parts."""

    scores: FloatMatrix

    def contributions(self, row: int, items: IntVector) -> Contributions:
        raise NotImplementedError("this model has no exact parts: ask only what is an AdditiveModel")


def scored(model: Model, queries: Sequence[Query]) -> Scored:
    """What `model` says of `queries`; only one that is an `AdditiveModel` can be asked why."""
    if isinstance(model, ScoringModel):
        return model.scored(queries)
    scores = model.score(queries)
    return _Asked(model, queries, scores) if isinstance(model, AdditiveModel) else _Mute(scores)
