"""What comes next as a linear function of what came before, in closed form, and of what items are about.

With e_t the t-th event of a user, or all events of a moment, x_t those up to the t-th, fading step by step at one rate
or at several, side by side, y_t those behind it, and N the nearness of items by their words and content vectors:

    x_t = for each rate p: sqrt(1 - exp(-2p)) sum over j <= t of exp(-p (t - j)) e_j       of length 1, if all differ
    y_t = sum over 0 < k <= horizon of exp(-ahead (k - 1)) e_t+k
    W   = (X'X + l2 I)^-1 (X'Y + U'N)         with U = one row of sqrt(1 - exp(-2p)) for each item, rate by rate

A score is x W with x what the history says now. It is the ridge regression of EASE (Steck, 2019) with the order of
events in place of one bag of them, as in the models of sessions of Choi et al. ("Session-aware Linear Item-Item Models
for Session-based Recommendation", 2021); with a fast rate and a slow one it tells the session from the taste. In place
of nothing, it is drawn to what nearness suggests: where an item has few events, its weights hardly move from there, and
where it has many, they say it all: W minimises sum over t |x_t W - y_t|^2 + l2 |W - U'N / l2|^2. Items that come after
the training have no events: their weights are U'N / l2.

Of a large catalogue each item is predicted from the rows of W alone that say most of it, so that time and memory grow
with the number of items and not with its cube and square.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Candidates, Choice, FitReport, Parameters, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.fading import Fading
from zhiyin.models.inputs import Sparse
from zhiyin.models.likeness import CONTENT, WORDS, Likeness
from zhiyin.models.ridge import solved, solved_on, support_of
from zhiyin.models.sequences import liked
from zhiyin.models.sparse_weights import ARRAYS, Held, Weights, rounded, scores_of, to_arrays
from zhiyin.models.stored import ModelConfig, StoredModel

NEAREST = 100
"""Of the items that are near to one, those that speak for it where not all rows do."""


class LinearConfig(ModelConfig):
    """l2: ridge penalty. past: how fast events fade, per step, before a place in a history, one rate or several.
    ahead: how fast they fade behind it.

    horizon: steps behind a place that are answers. together: whether events of one moment are one step, as the lines of
    an order, which have no order of their own; else every event is one. words, content: as how many answers to the one
    item alone it counts when another has the same words, or content vectors, by the mean over `encoders`; 0 reads none.
    support: items, each at each rate, that one item is predicted from at most; None takes all in a small catalogue, and
    in a large one a hundred, up to five hundred for an item with many events. bound: limit on what one user adds to the
    sums.
    """

    l2: float = Field(default=100.0, gt=0)
    past: tuple[Annotated[float, Field(ge=0.02, le=100)], ...] = Field(default=(1.0, 0.1), min_length=1)
    ahead: float = Field(default=1.0, ge=0)
    horizon: int = Field(default=5, ge=1)
    together: bool = False
    words: float = Field(default=2.0, ge=0)
    content: float = Field(default=1.0, ge=0)
    encoders: tuple[str, ...] = ()
    support: int | None = Field(default=None, ge=1)
    bound: float = Field(default=4096.0, gt=0)


class Linear(StoredModel):
    """Ridge regression of the next events on the past ones, drawn to the nearness of items."""

    name: ClassVar[str] = "linear"
    Config: ClassVar[type[LinearConfig]] = LinearConfig
    arrays: ClassVar[frozenset[str]] = ARRAYS
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"past": (0.3,)},
        {"past": (1.0, 0.1)},
        {"past": (1.0, 0.1), "words": 0.0, "content": 0.0},
        {"past": (1.0, 0.1), "l2": 300.0},
        {"past": (1.0, 0.1), "together": True},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "l2": Range(20.0, 2000.0, log=True),
        "past": Choice(((0.03,), (0.3,), (1.0,), (1.0, 0.1), (2.0, 0.1), (1.0, 0.05))),
        "ahead": Range(0.3, 3.0),
        "horizon": Range(1, 10),
        "together": Choice((False, True)),
        "words": Range(0.0, 6.0),
        "content": Range(0.0, 4.0),
    }
    config: LinearConfig

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `ConfigError` where the data set has no vectors of an encoder."""
        n_items, fading = len(data.items), self._fading
        histories = data.histories.keep(data.histories.weights > 0)
        users = np.arange(len(histories), dtype=np.int64)
        sums = run.statistics.sum(
            users, lambda part: fading.sums(histories, part, n_items, self.config.bound), self.config.bound
        )
        likeness = Likeness.found(data, run, self._tellers, self.config.encoders)
        met = np.bincount(histories.items, minlength=n_items)
        most = support_of(self.config.support, len(fading.past) * n_items, met)
        weights = self._on_all(sums, likeness) if most is None else self._on_strongest(sums, likeness, most)
        super().load_parameters(to_arrays(weights))
        self._likeness = likeness
        return FitReport()

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        """Raises `ConfigError` of a model that was trained without words and content, too."""
        self.parameters()
        if not self._likeness.n_items:
            raise ConfigError(
                f"{self.name}: trained without words and content; set `words` or `encoders` and train again"
            )
        other = copy(self)
        other._likeness = self._likeness.extended(catalog, content)
        return other

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(scores_of(self, queries, self.n_items), candidates)

    def scored(self, queries: Sequence[Query]) -> "LinearScored":
        self.parameters()
        return LinearScored(self._weights, self._likeness, [self._told(query) for query in queries])

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: what is left of an event times the weights from its item to the target."""
        return self.scored([query]).contributions(0, items)

    def parameters(self) -> Parameters:
        return {**super().parameters(), **self._likeness.parameters()}

    def load_parameters(self, parameters: Parameters) -> None:
        likeness = {key: array for key, array in parameters.items() if "." in key}
        super().load_parameters({key: array for key, array in parameters.items() if key not in likeness})
        self._likeness = Likeness.loaded(likeness, self._tellers, self.config.encoders)

    @property
    def n_items(self) -> int:
        return max(self._n_known, self._likeness.n_items)

    @property
    def _n_known(self) -> int:
        """Items that training met in the data set."""
        self.parameters()
        return self._weights.n_items

    @property
    def _tellers(self) -> Mapping[str, float]:
        return {WORDS: self.config.words, CONTENT: self.config.content}

    @cached_property
    def _fading(self) -> Fading:
        return Fading(self.config.past, self.config.ahead, self.config.horizon, self.config.together)

    def _on_all(self, sums: Sparse, likeness: Likeness) -> Sparse:
        n_rows = sums.shape[0]
        gram, answers = (each.toarray(order="F") for each in (sums[:, :n_rows], sums[:, n_rows:]))
        for block, near in likeness.tables():
            for rate, unit in enumerate(self._fading.units):
                answers[rate * answers.shape[1] + block] += unit * near
        return sparse.csr_matrix(solved(gram, answers, self.config.l2))

    def _on_strongest(self, sums: Sparse, likeness: Likeness, most: IntVector) -> Sparse:
        n_rows = sums.shape[0]
        gram, answers = sums[:, :n_rows], sums[:, n_rows:]
        n_items = answers.shape[1]
        near = likeness.nearest(NEAREST, answers[-n_items:]).T
        answers += sparse.vstack([np.float32(unit) * near for unit in self._fading.units], format="csr")
        return solved_on(gram, answers, self.config.l2, most)

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self._weights = Weights.from_arrays(parameters, len(self.config.past))

    def _told(self, query: Query) -> "Told":
        places = liked(query, len(query.history), self.n_items)
        left = self._fading.left(query.history.timestamps[places])
        places = places[len(places) - left.shape[1] :]
        sources = query.history.items[places]
        rate, event = np.nonzero(left * (sources < self._n_known))
        held = rate * self._n_known + sources[event], left[rate, event]
        # Where weights are drawn to nearness alone.
        return Told(len(query.history), places, sources, event, held, self._fading.units @ left / self.config.l2)


@dataclass(frozen=True, eq=False)
class Told:
    """What one history says. places: (k,) where in it those events are that still count, oldest first, and sources:
    (k,) their items. held: rows of the weights and what each counts, and event: which of the k each is of. drawn: (k,)
    what nearness to the item of each counts where there are no weights.
    """

    length: int
    places: IntVector
    sources: IntVector
    event: IntVector
    held: Held
    drawn: FloatVector


class LinearScored:
    """What a linear model says of some histories."""

    def __init__(self, weights: Weights, likeness: Likeness, told: Sequence[Told]) -> None:
        self._likeness, self._told = likeness, told
        self._sums = weights.sums([each.held for each in told])
        self._n_known = weights.n_items
        self.scores = self._sums.scores
        later = np.arange(self._n_known, max(self._n_known, likeness.n_items))
        if len(later):
            self.scores = np.concatenate([self.scores, np.zeros((len(told), len(later)))], axis=1)
            for row, each in enumerate(told):
                met = each.sources < self._n_known
                self.scores[row, later] = each.drawn[met] @ likeness.near(each.sources[met], later)
                everything = np.arange(self.scores.shape[1])
                self.scores[row] += each.drawn[~met] @ likeness.near(each.sources[~met], everything)

    def contributions(self, row: int, items: IntVector) -> Contributions:
        told = self._told[row]
        met, known = told.sources < self._n_known, items < self._n_known
        spoken = np.zeros((len(told.event), len(items)))
        spoken[:, known] = self._sums.parts(row, items[known])
        parts = np.zeros((told.length, len(items)))
        np.add.at(parts, told.places[told.event], spoken)
        if not known.all():
            near = self._likeness.near(told.sources, items[~known])
            parts[np.ix_(told.places, ~known)] = told.drawn[:, None] * near
        if not met.all():
            near = self._likeness.near(told.sources[~met], items)
            parts[told.places[~met]] = told.drawn[~met, None] * near
        return rounded(self.scores[row, items], parts.T)
