"""A linear model between items, in closed form."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import InputError
from zhiyin.core.models import Candidates, Choice, FitReport, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import evidence, training_rows
from zhiyin.models.stored import ModelConfig, StoredModel

DENSE_FROM = 0.01
"""Share of filled cells above which a dense product beats a sparse one."""

USERS_AT_ONCE = 1024

MOST_ITEMS = 25_000
"""Inverting needs three dense matrices of items x items: 15 GB for that many."""


class Ease(StoredModel):
    """EASE: the ridge regression of every item on all others (Steck, "Embarrassingly Shallow Autoencoders", 2019)."""

    class Config(ModelConfig):
        """l2: ridge penalty. binary: every liked item counts 1, otherwise its summed weight.

        half_life_days: fading of a query's events relative to its latest one. bound: limit on the squared length of
        what one user adds to the Gram matrix.
        """

        l2: float = Field(default=300.0, gt=0)
        binary: bool = True
        half_life_days: float | None = Field(default=None, gt=0)
        bound: float = Field(default=4096.0, gt=0)

    name: ClassVar[str] = "ease"
    arrays: ClassVar[frozenset[str]] = frozenset({"weights"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"l2": 100.0},
        {"l2": 300.0},
        {"l2": 1000.0},
        {"l2": 300.0, "half_life_days": 30.0},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "l2": Range(10.0, 5000.0, log=True),
        "half_life_days": Choice((None, 1.0, 3.0, 7.0, 30.0, 180.0)),
    }
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `InputError` where there are more than `MOST_ITEMS` items."""
        if len(data.items) > MOST_ITEMS:
            raise InputError(
                f"ease inverts a matrix of items x items, and {len(data.items):,} items are too many for memory; "
                f"it is for at most {MOST_ITEMS:,}; choose another model"
            )
        rows = training_rows(data, binary=self.config.binary)
        n_items = len(data.items)

        def gram(users: IntVector) -> FloatMatrix:
            total = np.zeros((n_items, n_items))
            for start in range(0, len(users), USERS_AT_ONCE):
                part = rows[users[start : start + USERS_AT_ONCE]]
                norms = np.asarray(part.multiply(part).sum(axis=1)).ravel()
                scale = np.sqrt(np.minimum(1.0, self.config.bound / np.maximum(norms, self.config.bound)))
                part = part.multiply(scale[:, None]).tocsr()
                dense = part.nnz > DENSE_FROM * max(1, part.shape[0] * n_items)
                matrix = part.toarray() if dense else part
                product = matrix.T @ matrix
                total += product if dense else product.toarray()
            return total

        users = np.arange(len(data.histories), dtype=np.int64)
        total = np.asarray(run.statistics.sum(users, gram, self.config.bound), np.float64)
        total[np.diag_indices(n_items)] += self.config.l2
        inverse = np.linalg.inv(total)
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self.load_parameters({"weights": weights.astype(np.float32)})
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        weights = self.parameters()["weights"]
        scores = np.zeros((len(queries), len(weights)))
        for row, query in enumerate(queries):
            items, values = self._evidence(query, len(weights))
            kept = values > 0
            scores[row] = values[kept] @ weights[items[kept]].astype(np.float64)
        return gather(scores, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's evidence times the weight from its item to the target."""
        weights = self.parameters()["weights"]
        sources, values = self._evidence(query, len(weights))
        return Contributions(np.zeros(len(items)), weights[np.ix_(sources, items)].T.astype(np.float64) * values)

    def _evidence(self, query: Query, n_items: int) -> Any:
        return evidence(query.history, n_items, binary=self.config.binary, half_life_days=self.config.half_life_days)
