"""Attention of what may come next on what came before, by nearness alone.

With H the history, s_h the share of event h in it and near(h, i) how near its item is to the item i:

    weight_hi = s_h exp(sharpness near(h, i)) / sum over H of s exp(sharpness near(., i))
    score_i   = sum over H of weight_hi near(h, i)

Without sharpness this is the mean nearness; the sharper, the more an item is judged by the events that it goes with
alone, as in target attention (NAIS, He et al., 2018, with nothing to learn). Each event's share of a score is exact.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, Choice, FitReport, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse, recent_shares
from zhiyin.models.stored import ModelConfig, StoredModel

CELLS = 1 << 24
"""Numbers of one table of nearness held at a time."""


class NearnessConfig(ModelConfig):
    """last: latest events that count. half_life_days: fading of events relative to the latest one."""

    last: int = Field(default=50, ge=1)
    half_life_days: float | None = Field(default=None, gt=0)
    sharpness: float = Field(default=8.0, ge=0, le=500)


class NearnessModel(StoredModel):
    """Scores from the nearness of items to those of the user's recent likes."""

    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"last": 50},
        {"last": 500},
        {"last": 50, "sharpness": 0.0},
        {"last": 500, "sharpness": 0.0},
        {"last": 5, "sharpness": 0.0},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "last": Choice((1, 3, 5, 10, 50, 500)),
        "half_life_days": Choice((None, 1.0, 3.0, 7.0, 30.0, 180.0)),
        "sharpness": Range(0.0, 16.0),
    }
    config: NearnessConfig

    @property
    @abstractmethod
    def n_items(self) -> int: ...

    @abstractmethod
    def near(self, sources: IntVector, targets: IntVector | None = None) -> FloatMatrix:
        """(sources, targets) how near items are to each other, -1 to 1; None for all targets."""

    def mean_near(self, sources: IntVector, shares: Sparse) -> FloatMatrix:
        """(n, items) how near items are to the `sources`, in the mean by the `shares` (n, sources)."""
        mean: FloatMatrix = shares @ self.near(sources)
        return mean

    @abstractmethod
    def pairwise(self, sources: IntVector, targets: IntVector) -> FloatVector:
        """(n,) how near each of the `sources` (n,) is to the one of the `targets` (n,) at its place."""

    @abstractmethod
    def fit(self, data: Dataset, run: Run) -> FitReport: ...

    @abstractmethod
    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> "NearnessModel": ...

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        """Zeros for a history without positive evidence."""
        scores = np.zeros((len(queries), self.n_items))
        likes = [self._likes(query) for query in queries]
        sharpness = self.config.sharpness
        for rows in _together(likes, self.n_items):
            sources, shares = _side_by_side([likes[row] for row in rows])
            if not sharpness:
                scores[rows] = self.mean_near(sources, shares)
                continue
            near = self.near(sources)
            raised = np.exp(sharpness * near)
            scores[rows] = (shares @ (raised * near)) / (shares @ raised)
        return gather(scores, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's weight for the item times the nearness of its own."""
        sources, shares = self._shares(query)
        parts = np.zeros((len(items), len(query.history)))
        liked = shares > 0
        near = self.near(sources[liked], items)
        parts[:, liked] = (_weights(near, shares[liked], self.config.sharpness) * near).T
        return Contributions(np.zeros(len(items)), parts)

    def _shares(self, query: Query) -> tuple[IntVector, FloatVector]:
        return recent_shares(query.history, self.n_items, self.config.last, self.config.half_life_days)

    def _likes(self, query: Query) -> tuple[IntVector, FloatVector]:
        items, shares = self._shares(query)
        return items[shares > 0], shares[shares > 0]


def _weights(near: FloatMatrix, shares: FloatVector, sharpness: float) -> FloatMatrix:
    """(events, items) of events of positive `shares`; those of an item add up to 1."""
    if not sharpness or not len(near):
        return np.broadcast_to(shares[:, None], near.shape)
    weights = shares[:, None] * np.exp(sharpness * (near - near.max(axis=0)))
    normalised: FloatMatrix = weights / weights.sum(axis=0)
    return normalised


def _side_by_side(likes: Sequence[tuple[IntVector, FloatVector]]) -> tuple[IntVector, Sparse]:
    """The items of all, sorted, and (likes, items) the share that each has."""
    items, shares = (np.concatenate(columns) for columns in zip(*likes, strict=True))
    sources, places = np.unique(items, return_inverse=True)
    rows = np.repeat(np.arange(len(likes)), [len(each) for each, _ in likes])
    return sources, sparse.csr_matrix((shares, (rows, places)), (len(likes), len(sources)))


def _together(likes: Sequence[tuple[IntVector, FloatVector]], n_items: int) -> Iterator[list[int]]:
    """Queries that share one table of nearness of at most about `CELLS` numbers; those without likes in none."""
    rows: list[int] = []
    events = 0
    for row, (items, _) in enumerate(likes):
        if rows and (events + len(items)) * n_items > CELLS:
            yield rows
            rows, events = [], 0
        if len(items):
            rows.append(row)
            events += len(items)
    if rows:
        yield rows
