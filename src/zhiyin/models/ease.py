"""A linear model between items, in closed form."""

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, Choice, FitReport, Parameters, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse, evidence, training_rows
from zhiyin.models.ridge import solved_on, support_of
from zhiyin.models.sparse_weights import ARRAYS, Held, Sums, Weights, rounded, scores_of, to_arrays
from zhiyin.models.stored import ModelConfig, StoredModel

DENSE_FROM = 0.01
"""Share of filled cells above which a dense product beats a sparse one."""

USERS_AT_ONCE = 1024


class Ease(StoredModel):
    """EASE: the ridge regression of every item on all others (Steck, "Embarrassingly Shallow Autoencoders", 2019).

    In a large catalogue it is that on the others which say most of it.
    """

    class Config(ModelConfig):
        """l2: ridge penalty. binary: every liked item counts 1, otherwise its summed weight.

        half_life_days: fading of a query's events relative to its latest one. support: items that one item is predicted
        from at most; None takes all in a small catalogue, and in a large one a hundred, up to five hundred for an item
        with many events. bound: limit on the squared length of what one user adds to the Gram matrix.
        """

        l2: float = Field(default=300.0, gt=0)
        binary: bool = True
        half_life_days: float | None = Field(default=None, gt=0)
        support: int | None = Field(default=None, ge=1)
        bound: float = Field(default=4096.0, gt=0)

    name: ClassVar[str] = "ease"
    arrays: ClassVar[frozenset[str]] = ARRAYS
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
        rows, n_items = training_rows(data, binary=self.config.binary), len(data.items)
        most = support_of(self.config.support, n_items, np.bincount(rows.indices, minlength=n_items))

        def gram(users: IntVector) -> Any:
            parts = [users[start : start + USERS_AT_ONCE] for start in range(0, len(users), USERS_AT_ONCE)]
            return reduce(operator.iadd, (self._products(rows[part], most is None) for part in parts))

        users = np.arange(len(data.histories), dtype=np.int64)
        total = run.statistics.sum(users, gram, self.config.bound)
        weights = self._on_all(total) if most is None else self._on_strongest(total, most)
        self.load_parameters(to_arrays(weights))
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        self.parameters()
        return gather(scores_of(self, queries, self._weights.n_items), candidates)

    def scored(self, queries: Sequence[Query]) -> "EaseScored":
        self.parameters()
        return EaseScored(self._weights.sums([self._evidence(query) for query in queries]))

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's evidence times the weight from its item to the target."""
        return self.scored([query]).contributions(0, items)

    def _products(self, part: Sparse, whole: bool) -> Any:
        """(items, items) the Gram matrix of some users, as an array where it is `whole`."""
        norms = np.asarray(part.multiply(part).sum(axis=1)).ravel()
        scale = np.sqrt(np.minimum(1.0, self.config.bound / np.maximum(norms, self.config.bound)))
        part = part.multiply(scale[:, None]).tocsr()
        if whole and part.nnz > DENSE_FROM * max(1, part.shape[0] * part.shape[1]):
            matrix = part.toarray()
            return matrix.T @ matrix
        product = (part.T @ part).tocsr()
        return product.toarray() if whole else product

    def _on_all(self, gram: FloatMatrix) -> Sparse:
        gram[np.diag_indices(len(gram))] += self.config.l2
        inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return sparse.csr_matrix(weights.astype(np.float32))

    def _on_strongest(self, gram: Sparse, most: IntVector) -> Sparse:
        others = gram.copy()
        others.setdiag(0.0)
        others.eliminate_zeros()
        return solved_on(gram, others, self.config.l2, most).astype(np.float32)

    def _prepare(self, parameters: Parameters) -> None:
        self._weights = Weights.from_arrays(parameters)

    def _evidence(self, query: Query) -> Held:
        return evidence(
            query.history, self._weights.n_items, binary=self.config.binary, half_life_days=self.config.half_life_days
        )


class EaseScored:
    """What the model says of some histories."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self.scores = sums.scores

    def contributions(self, row: int, items: IntVector) -> Contributions:
        return rounded(self.scores[row, items], self._sums.parts(row, items).T)
