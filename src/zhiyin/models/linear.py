"""What comes next as a linear function of what came before, in closed form, and of what items are about.

With x_t the events of a user up to the t-th and y_t those behind it, both fading event by event, and N the nearness of
items by their words and content vectors:

    x_t = sum over j <= t of exp(-past (t - j)) e_j        y_t = sum over 0 < k <= horizon of exp(-ahead (k - 1)) e_t+k
    W   = argmin of sum over t |x_t W - y_t|^2 + l2 |W - N / l2|^2 = (X'X + l2 I)^-1 (X'Y + N)

A score is x W with x what the history says now. It is the ridge regression of EASE (Steck, 2019) with the order of
events in place of one bag of them, as in the models of sessions of Choi et al. ("Session-aware Linear Item-Item Models
for Session-based Recommendation", 2021). In place of nothing, it is drawn to what nearness suggests: where an item has
few events, their weights hardly move from there, and where it has many, they say it all. Items that come after the
training have no events, so that their weights are N / l2.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import linalg, sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, FitReport, Parameters, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse
from zhiyin.models.likeness import CONTENT, WORDS, Likeness
from zhiyin.models.neighbours import norms
from zhiyin.models.sequences import liked
from zhiyin.models.stored import ModelConfig, StoredModel

MOST_ITEMS = 25_000
"""Three dense matrices of items x items of four bytes, 7.5 GB for that many, and the sums of products before them."""

TRIFLE = 1e-3
"""Events that count less are not read."""

ROWS = 1_024
"""Items whose nearness to all others is held at a time."""


class LinearConfig(ModelConfig):
    """l2: ridge penalty. past, ahead: how fast events fade, per event, before and behind a place in a history.

    horizon: events behind a place that are answers. words, content: as how many such answers it counts when one item
    has the words of another, or its content vectors, by the mean over `encoders`; 0 reads none. bound: limit on what
    one user adds to the sums.
    """

    l2: float = Field(default=100.0, gt=0)
    past: float = Field(default=1.0, ge=0.05, le=100)
    ahead: float = Field(default=1.0, ge=0)
    horizon: int = Field(default=5, ge=1)
    words: float = Field(default=2.0, ge=0)
    content: float = Field(default=1.0, ge=0)
    encoders: tuple[str, ...] = ()
    bound: float = Field(default=4096.0, gt=0)

    @property
    def window(self) -> int:
        """Events that are read of a history, the latest ones."""
        return 1 + int(-np.log(TRIFLE) / self.past)


class Linear(StoredModel):
    """Ridge regression of the next events on the past ones, drawn to the nearness of items."""

    name: ClassVar[str] = "linear"
    Config: ClassVar[type[LinearConfig]] = LinearConfig
    arrays: ClassVar[frozenset[str]] = frozenset({"weights"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"l2": 100.0},
        {"l2": 200.0},
        {"l2": 100.0, "words": 0.0, "content": 0.0},
        {"l2": 100.0, "past": 0.5},
        {"l2": 200.0, "past": 0.2},
    )
    config: LinearConfig

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `InputError` where there are more than `MOST_ITEMS` items, and `ConfigError` where the data set has no
        vectors of an encoder.
        """
        n_items = len(data.items)
        if n_items > MOST_ITEMS:
            raise InputError(
                f"{self.name} solves for a matrix of items x items, and {n_items:,} items are too many for memory; "
                f"it is for at most {MOST_ITEMS:,}; choose another model"
            )
        histories = data.histories.keep(data.histories.weights > 0)

        def products(users: IntVector) -> Sparse:
            before, behind = self._places(histories, users, n_items)
            return sparse.hstack([before.T @ before, before.T @ behind], format="csr")

        users = np.arange(len(histories), dtype=np.int64)
        total = run.statistics.sum(users, products, self.config.bound)
        gram, answers = (
            part.astype(np.float32).toarray(order="F") for part in (total[:, :n_items], total[:, n_items:])
        )
        likeness = Likeness.found(data, run, self._tellers, self.config.encoders)
        everything = np.arange(n_items)
        for start in range(0, n_items, ROWS):
            answers[start : start + ROWS] += likeness.near(everything[start : start + ROWS], everything)
        gram[np.diag_indices(n_items)] += self.config.l2
        factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        weights = linalg.cho_solve(factor, answers, overwrite_b=True, check_finite=False)
        self._take(weights, likeness)
        return FitReport()

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        """Raises `ConfigError` of a model that was trained without words and content, too."""
        self.parameters()
        if not self._likeness.n_items:
            raise ConfigError(
                f"{self.name}: trained without words and content; set `words` or `encoders` and train again"
            )
        other = type(self)(self.config)
        other._take(self._weights, self._likeness.extended(catalog, content))
        return other

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        scores = np.zeros((len(queries), self.n_items))
        for row, query in enumerate(queries):
            places, values = self._evidence(query)
            scores[row] = values @ self._rows(query.history.items[places])
        return gather(scores, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: what is left of an event times the weight from its item to the target."""
        parts = np.zeros((len(items), len(query.history)))
        places, values = self._evidence(query)
        parts[:, places] = self._rows(query.history.items[places])[:, items].T * values
        return Contributions(np.zeros(len(items)), parts)

    def parameters(self) -> Parameters:
        return {**super().parameters(), **self._likeness.parameters()}

    def load_parameters(self, parameters: Parameters) -> None:
        likeness = {key: array for key, array in parameters.items() if "." in key}
        super().load_parameters({key: array for key, array in parameters.items() if key not in likeness})
        self._likeness = Likeness.loaded(likeness, self._tellers, self.config.encoders)

    @property
    def n_items(self) -> int:
        known = len(super().parameters()["weights"])
        return max(known, self._likeness.n_items)

    @property
    def _tellers(self) -> Mapping[str, float]:
        return {WORDS: self.config.words, CONTENT: self.config.content}

    def _take(self, weights: FloatMatrix, likeness: Likeness) -> None:
        super().load_parameters({"weights": weights})
        self._likeness = likeness

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self._weights: FloatMatrix = parameters["weights"]

    def _rows(self, items: IntVector) -> FloatMatrix:
        """(k, n_items) float64 weights from `items` (k,) to all."""
        n_known = len(self._weights)
        met, later = items < n_known, np.arange(n_known, self.n_items)
        rows = np.zeros((len(items), self.n_items))
        rows[met, :n_known] = self._weights[items[met]]
        if len(later):
            rows[met, n_known:] = self._likeness.near(items[met], later) / self.config.l2
            rows[~met] = self._likeness.near(items[~met], np.arange(self.n_items)) / self.config.l2
        return rows

    def _evidence(self, query: Query) -> tuple[IntVector, FloatVector]:
        """Places in the history that are read, oldest first, and what is left of each."""
        places = liked(query, self.config.window, self.n_items)
        return places, np.exp(-self.config.past * np.arange(len(places))[::-1])

    def _places(self, histories: Histories, users: IntVector, n_items: int) -> tuple[Sparse, Sparse]:
        """(places, n_items) before and behind every place of these users' histories, the last ones left out."""
        first, last = histories.indptr[users], histories.indptr[users + 1] - 1
        events = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [np.zeros(0, np.int64)])
        user = np.repeat(np.arange(len(users)), np.maximum(last - first, 0))
        back, ahead = events - first[user], last[user] - events
        before = _faded(
            histories.items, events, -np.arange(self.config.window), back, rate=self.config.past, width=n_items
        )
        steps = np.arange(1, self.config.horizon + 1)
        behind = _faded(histories.items, events, steps, ahead, rate=self.config.ahead, width=n_items)
        size = norms(before) * (norms(before) + norms(behind))
        added = np.bincount(user, size, len(users))
        scale = np.sqrt(self.config.bound / np.maximum(added, self.config.bound))[user]
        return before.multiply(scale[:, None]).tocsr(), behind.multiply(scale[:, None]).tocsr()


def _faded(
    items: IntVector, events: IntVector, steps: IntVector, room: IntVector, *, rate: float, width: int
) -> Sparse:
    """(events, width): items `steps` away from each event, where there is `room`, fading with the distance."""
    rows, columns, values = [], [], []
    for age, step in enumerate(steps.tolist()):
        there = np.flatnonzero(room >= abs(step))
        rows.append(there)
        columns.append(items[events[there] + step])
        values.append(np.full(len(there), np.exp(-rate * age)))
    cells = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix: Any = sparse.coo_matrix(cells, (len(events), width)).tocsr()
    matrix.sum_duplicates()
    return matrix
