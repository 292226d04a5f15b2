"""What everybody likes, with the past fading."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import faded_likes
from zhiyin.models.stored import ModelConfig, StoredModel


class Popularity(StoredModel):
    """Summed positive weights of an item's events, each halved for every half life before the last known event."""

    class Config(ModelConfig):
        """half_life_days: days after which an event counts half; None counts all alike."""

        half_life_days: float | None = Field(default=None, gt=0)

    name: ClassVar[str] = "popularity"
    arrays: ClassVar[frozenset[str]] = frozenset({"popularity"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"half_life_days": None},
        {"half_life_days": 3.0},
        {"half_life_days": 7.0},
        {"half_life_days": 30.0},
        {"half_life_days": 180.0},
    )
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        self.load_parameters({"popularity": faded_likes(data, self.config.half_life_days)})
        return FitReport()

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> "Popularity":
        """New items are as popular as one that nobody touched."""
        other = type(self)(self.config)
        other.load_parameters({"popularity": np.append(self.parameters()["popularity"], np.zeros(len(catalog)))})
        return other

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        popularity = self.parameters()["popularity"]
        return gather(np.broadcast_to(popularity, (len(queries), len(popularity))).copy(), candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """All of the score is base: nothing of it comes from the user."""
        return Contributions(self.parameters()["popularity"][items], np.zeros((len(items), len(query.history))))
