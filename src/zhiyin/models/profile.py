"""What is popular with those who share a user's attributes, as far as their number says it.

The formula of `conditional`, with the attributes that a user has in the place of the items that they like:

    score_j = log p_j + sum over the n attributes a of log( (c_aj + prior P_j) / ((c_a + prior) P_j) ) / (1 + n)

c_a are the users with the attribute, c_aj those of them who like the item. Only words count (a country, an age group);
a number has no users who share it.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.models.inputs import faded_likes, training_rows
from zhiyin.models.stored import ModelConfig, StoredModel


class Profile(StoredModel):
    """Scores are those of popularity where nothing is known of a user."""

    class Config(ModelConfig):
        """prior: users whose word popularity has against that of those who share an attribute. half_life_days: at which
        popularity fades; None counts all alike.
        """

        prior: float = Field(default=100.0, gt=0)
        half_life_days: float | None = Field(default=30.0, gt=0)

    name: ClassVar[str] = "profile"
    arrays: ClassVar[frozenset[str]] = frozenset({"base", "lifts", "words"})
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        features, prior = data.user_features, self.config.prior
        words = np.zeros(features.matrix.shape[1], np.bool_)
        words[[place for place, column in enumerate(features.columns) if column.value is not None]] = True
        having = features.matrix.astype(np.float64) * words
        likes = training_rows(data)
        shares = np.asarray(likes.mean(axis=0)).ravel() if likes.shape[0] else np.zeros(likes.shape[1])
        both, own = (likes.T @ having).T, having.sum(axis=0)[:, None]
        known = np.where(shares > 0, shares, 1.0)
        lifts = np.log((both + prior * known) / ((own + prior) * known))
        self.load_parameters(
            {
                "base": np.log1p(faded_likes(data, self.config.half_life_days)),
                "lifts": np.where(shares > 0, lifts, 0.0),
                "words": words.astype(np.uint8),
            }
        )
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        parameters, having = self.parameters(), self._having(queries)
        voices = 1.0 + having.sum(axis=1, keepdims=True)
        return gather(parameters["base"] + having @ parameters["lifts"] / voices, candidates)

    def _having(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, attributes) 1 where the user has it."""
        words = self.parameters()["words"]
        told = [np.zeros(len(words)) if q.user_features is None else q.user_features for q in queries]
        return np.array(told, np.float64).reshape(len(queries), len(words)) * words
