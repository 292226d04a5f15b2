"""What comes next as a linear function of what came before, in closed form, and of what items are about.

With x_t the events of a user up to the t-th, fading event by event at one rate or at several, side by side, y_t those
behind it, and N the nearness of items by their words and content vectors:

    x_t = for each rate p: sqrt(1 - exp(-2p)) sum over j <= t of exp(-p (t - j)) e_j       of length 1, if all differ
    y_t = sum over 0 < k <= horizon of exp(-ahead (k - 1)) e_t+k
    W   = (X'X + l2 I)^-1 (X'Y + U'N)         with U = one row of sqrt(1 - exp(-2p)) for each item, rate by rate

A score is x W with x what the history says now. It is the ridge regression of EASE (Steck, 2019) with the order of
events in place of one bag of them, as in the models of sessions of Choi et al. ("Session-aware Linear Item-Item Models
for Session-based Recommendation", 2021); with a fast rate and a slow one it tells the session from the taste. In place
of nothing, it is drawn to what nearness suggests: where an item has few events, its weights hardly move from there, and
where it has many, they say it all: W minimises sum over t |x_t W - y_t|^2 + l2 |W - U'N / l2|^2. Items that come after
the training have no events: their weights are U'N / l2.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import linalg, sparse

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, Choice, FitReport, Parameters, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse
from zhiyin.models.likeness import CONTENT, WORDS, Likeness
from zhiyin.models.neighbours import norms
from zhiyin.models.sequences import liked
from zhiyin.models.stored import ModelConfig, StoredModel

MOST_ROWS = 25_000
"""Items times rates: three dense matrices of rows x rows of four bytes, 7.5 GB for that many, and the sums before."""

TRIFLE = 1e-2
"""Events that count less are not read."""

BLOCK = 1_024
"""Items whose nearness to all others is held at a time."""


class LinearConfig(ModelConfig):
    """l2: ridge penalty. past: how fast events fade, per event, before a place in a history, one rate or several.
    ahead: how fast they fade behind it.

    horizon: events behind a place that are answers. words, content: as how many answers to the one item alone it counts
    when another has the same words, or content vectors, by the mean over `encoders`; 0 reads none. bound: limit on what
    one user adds to the sums.
    """

    l2: float = Field(default=100.0, gt=0)
    past: tuple[Annotated[float, Field(ge=0.02, le=100)], ...] = Field(default=(1.0, 0.1), min_length=1)
    ahead: float = Field(default=1.0, ge=0)
    horizon: int = Field(default=5, ge=1)
    words: float = Field(default=2.0, ge=0)
    content: float = Field(default=1.0, ge=0)
    encoders: tuple[str, ...] = ()
    bound: float = Field(default=4096.0, gt=0)

    @property
    def window(self) -> int:
        """Events that are read of a history, the latest ones."""
        return max(map(_window, self.past))


def _window(past: float) -> int:
    return 1 + int(-np.log(TRIFLE) / past)


class Linear(StoredModel):
    """Ridge regression of the next events on the past ones, drawn to the nearness of items."""

    name: ClassVar[str] = "linear"
    Config: ClassVar[type[LinearConfig]] = LinearConfig
    arrays: ClassVar[frozenset[str]] = frozenset({"weights"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"past": (0.3,)},
        {"past": (1.0, 0.1)},
        {"past": (1.0, 0.1), "words": 0.0, "content": 0.0},
        {"past": (1.0, 0.1), "l2": 300.0},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "l2": Range(20.0, 2000.0, log=True),
        "past": Choice(((0.3,), (1.0,), (1.0, 0.1), (2.0, 0.1), (1.0, 0.05))),
        "ahead": Range(0.3, 3.0),
        "horizon": Range(1, 10),
        "words": Range(0.0, 6.0),
        "content": Range(0.0, 4.0),
    }
    config: LinearConfig

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `InputError` where there are more than `MOST_ROWS` items, each as often as there are rates, and
        `ConfigError` where the data set has no vectors of an encoder.
        """
        n_items, rates = len(data.items), len(self.config.past)
        if rates * n_items > MOST_ROWS:
            raise InputError(
                f"{self.name} solves for a matrix of items x items, and {n_items:,} items are too many for memory; "
                f"it is for at most {MOST_ROWS // rates:,} with {rates} rates of fading; choose another model"
            )
        histories = data.histories.keep(data.histories.weights > 0)

        def products(users: IntVector) -> Sparse:
            before, behind = self._places(histories, users, n_items)
            return sparse.hstack([before.T @ before, before.T @ behind], format="csr")

        users = np.arange(len(histories), dtype=np.int64)
        total = run.statistics.sum(users, products, self.config.bound)
        gram, answers = (
            part.astype(np.float32).toarray(order="F")
            for part in (total[:, : rates * n_items], total[:, rates * n_items :])
        )
        likeness = Likeness.found(data, run, self._tellers, self.config.encoders)
        everything = np.arange(n_items)
        for start in range(0, n_items, BLOCK):
            block = slice(start, min(start + BLOCK, n_items))
            near = likeness.near(everything[block], everything)
            answers.reshape(rates, n_items, n_items)[:, block] += self._units * near
        gram[np.diag_indices(rates * n_items)] += self.config.l2
        factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        weights = linalg.cho_solve(factor, answers, overwrite_b=True, check_finite=False)
        self._take(weights.reshape(rates, n_items, n_items), likeness)
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
            scores[row] = np.einsum("pk,pki->i", values, self._rows(query.history.items[places]))
        return gather(scores, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: what is left of an event times the weights from its item to the target."""
        parts = np.zeros((len(items), len(query.history)))
        places, values = self._evidence(query)
        parts[:, places] = np.einsum("pk,pki->ik", values, self._rows(query.history.items[places])[..., items])
        return Contributions(np.zeros(len(items)), parts)

    def parameters(self) -> Parameters:
        return {**super().parameters(), **self._likeness.parameters()}

    def load_parameters(self, parameters: Parameters) -> None:
        likeness = {key: array for key, array in parameters.items() if "." in key}
        super().load_parameters({key: array for key, array in parameters.items() if key not in likeness})
        self._likeness = Likeness.loaded(likeness, self._tellers, self.config.encoders)

    @property
    def n_items(self) -> int:
        known = len(super().parameters()["weights"][0])
        return max(known, self._likeness.n_items)

    @property
    def _tellers(self) -> Mapping[str, float]:
        return {WORDS: self.config.words, CONTENT: self.config.content}

    def _take(self, weights: FloatMatrix, likeness: Likeness) -> None:
        super().load_parameters({"weights": weights})
        self._likeness = likeness

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self._weights: FloatMatrix = parameters["weights"]

    @property
    def _units(self) -> FloatMatrix:
        """(rates, 1, 1)."""
        return np.array([_unit(past) for past in self.config.past])[:, None, None]

    def _rows(self, items: IntVector) -> FloatMatrix:
        """(rates, k, n_items) float64 weights from `items` (k,) to all."""
        rates, n_known = self._weights.shape[:2]
        met, later = items < n_known, np.arange(n_known, self.n_items)
        rows = np.zeros((rates, len(items), self.n_items))
        rows[:, met, :n_known] = self._weights[:, items[met]]
        if len(later):
            drawn = self._units / self.config.l2
            rows[:, met, n_known:] = drawn * self._likeness.near(items[met], later)
            rows[:, ~met] = drawn * self._likeness.near(items[~met], np.arange(self.n_items))
        return rows

    def _evidence(self, query: Query) -> tuple[IntVector, FloatMatrix]:
        """Places (k,) in the history that are read, oldest first, and what is left of each at each rate (rates, k)."""
        places = liked(query, self.config.window, self.n_items)
        ages = np.arange(len(places))[::-1]
        left = [_unit(past) * np.exp(-past * ages) * (ages < _window(past)) for past in self.config.past]
        return places, np.array(left)

    def _places(self, histories: Histories, users: IntVector, n_items: int) -> tuple[Sparse, Sparse]:
        """(places, rates * n_items) before and (places, n_items) behind every place of these users' histories, the last
        ones left out.
        """
        first, last = histories.indptr[users], histories.indptr[users + 1] - 1
        events = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [np.zeros(0, np.int64)])
        user = np.repeat(np.arange(len(users)), np.maximum(last - first, 0))
        back, ahead = events - first[user], last[user] - events
        before: Any = sparse.hstack(
            [
                _unit(past) * _faded(histories.items, events, -np.arange(_window(past)), back, rate=past, width=n_items)
                for past in self.config.past
            ],
            format="csr",
        )
        steps = np.arange(1, self.config.horizon + 1)
        behind = _faded(histories.items, events, steps, ahead, rate=self.config.ahead, width=n_items)
        size = norms(before) * (norms(before) + norms(behind))
        added = np.bincount(user, size, len(users))
        scale = np.sqrt(self.config.bound / np.maximum(added, self.config.bound))[user]
        return before.multiply(scale[:, None]).tocsr(), behind.multiply(scale[:, None]).tocsr()


def _unit(past: float) -> float:
    """What a history of different items that fade so fast is multiplied by to be of length 1."""
    return float(np.sqrt(1.0 - np.exp(-2.0 * past)))


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
