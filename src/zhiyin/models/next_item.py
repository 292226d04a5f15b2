"""What the gradient models share that learn what comes next: scores of items by the state a history leaves."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Literal, Self, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from zhiyin.core.arrays import BoolVector, FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ConfigError
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, Choice, Objective, Parameters, Range, Run, gather
from zhiyin.models.content_reading import ContentReading
from zhiyin.models.growing import Growing
from zhiyin.models.moments import Moments
from zhiyin.models.narrowing import vectors_of
from zhiyin.models.neural import NeuralConfig, NeuralModel, NeuralTask
from zhiyin.models.next_item_network import Few, NextItemNetwork, over
from zhiyin.models.sequences import liked

SCORING_BATCH = 256

ALL_SCORED, SAMPLED = 5_000, 2_000


class NextItemConfig(NeuralConfig):
    """Settings of the models that learn what comes next.

    half_life_days: at which the popularity fades that scores count on; None takes that of the whole period. horizon:
    the answers to a training question come from that many events after it, None from all of them. pause_days: questions
    are put where a user came back after that long, as one who is served a first list has, not in the middle of a
    session; None puts them anywhere, as does a log in which nobody ever came back. questions: at most that many places
    of a history are asked about in one step, drawn at random. negatives: 0 scores every item in the loss, otherwise
    that many sampled by popularity and log-Q corrected; None scores all of a catalogue of up to 5,000 items, and 2,000
    of a larger one. Where they are sampled, `weight_decay` spares what is held item by item. weigh: whether a training
    counts all "users" alike or all "events", of which some have many. trust: how much of what a
    history says a score takes, beside the item's base: training is surer of itself than the weeks after it bear out.
    encoders: whose content vectors items are read by, beside an id of their own; without any, an item without events is
    as good as unknown. content_dim: to which the vectors of each are narrowed. id_dropout: share of the items that a
    training step knows by content alone, so that new ones can be scored. modality_dropout: share of the modalities of
    an item that a training step leaves out.
    """

    half_life_days: float | None = Field(default=3.0, gt=0)
    horizon: int | None = Field(default=None, ge=1)
    pause_days: float | None = Field(default=None, gt=0)
    questions: int = Field(default=32, ge=1)
    negatives: int | None = Field(default=None, ge=0)
    weigh: Literal["users", "events"] = "users"
    trust: float = Field(default=0.5, gt=0, le=1)
    encoders: tuple[str, ...] = ()
    content_dim: int = Field(default=128, ge=1)
    id_dropout: float = Field(default=0.2, ge=0, le=1)
    modality_dropout: float = Field(default=0.5, ge=0, lt=1)


L = TypeVar("L", bound=NextItemNetwork)


class NextItemModel(NeuralModel[L]):
    """A model whose scores are products of a vector of the history with vectors of items."""

    search: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"half_life_days": 3.0},
        {"half_life_days": 30.0},
        {"half_life_days": 3.0, "horizon": 1, "trust": 1.0},
        {"half_life_days": None, "horizon": 1, "trust": 1.0},
    )

    space: ClassVar[Mapping[str, Range | Choice]] = {
        "half_life_days": Choice((None, 1.0, 3.0, 7.0, 30.0, 180.0)),
        "horizon": Choice((None, 1, 3, 10)),
        "trust": Range(0.25, 1.0),
        "weigh": Choice(("users", "events")),
        "questions": Range(4, 100, log=True),
        "dim": Choice((32, 64, 128)),
        "length": Choice((20, 50, 100, 200)),
        "dropout": Range(0.1, 0.6),
        "learning_rate": Range(2e-4, 4e-3, log=True),
        "weight_decay": Range(1e-5, 3.0, log=True),
    }

    @abstractmethod
    def sized(self, n_items: int, reads: Sequence[int]) -> L:
        """A network over `n_items` items. reads: how many numbers each encoder's vectors have."""

    def build(self, data: Dataset) -> L:
        """Raises `ConfigError` where the data set has no vectors of an encoder."""
        vectors = vectors_of(data.content, self.config.encoders, self.name)
        return self.sized(len(data.items), [each.shape[1] for each in vectors])

    def shaped(self, parameters: Parameters) -> L:
        reads = parameters.get("content.reads", ())
        return self.sized(len(parameters["item_bias"]), [int(read) for read in reads])

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._reader: L | None = None

    @property
    def reader(self) -> L:
        """What reads histories: the network, over items that came later, too."""
        return self._reader or self.network

    def settle(self) -> None:
        super().settle()
        network = self.network
        with torch.inference_mode():
            items = network.items()
            base = items.base + items.known * network.moment
        self._reader = network
        self.evidence: Tensor = items.evidence
        self._item_vectors = Growing(self._table(items.vectors, base))
        self._arrived = torch.zeros(0, len(self.config.encoders) * self.config.content_dim)

    def parameters(self) -> Parameters:
        known, n_items = super().parameters(), self.network.n_items
        if not len(self._arrived):
            return known
        places = [n_items] * len(self._arrived)
        longer = {name: np.insert(known[name], places, 0, axis=0) for name in self.network.by_item}
        longer["content.narrowed"][n_items:] = self._arrived.numpy()
        return {**known, **longer}

    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, dim + 1) float64: the trusted state of the history, and a one that takes the item's base along."""
        reader = self.reader
        states = [np.zeros((0, self.config.dim))]
        for start in range(0, len(queries), SCORING_BATCH):
            asked = queries[start : start + SCORING_BATCH]
            sequences = [q.history.items[liked(q, self.config.length, reader.n_items)] for q in asked]
            with torch.inference_mode():
                states.append(reader.read(sequences, self.evidence).numpy())
        together = self.config.trust * np.concatenate(states)
        return np.concatenate([together, np.ones((len(together), 1))], axis=1)

    def item_vectors(self) -> FloatMatrix:
        """(items, dim + 1) float64, the last column the score of an item whatever the history."""
        return self._item_vectors.rows

    def item_directions(self) -> FloatMatrix:
        """(items, dim) float64: what tells items apart for people, without how popular they are."""
        return self._item_vectors.rows[:, :-1]

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        """Raises `ConfigError` of a model that was trained without content, too."""
        reading = self._reading()
        other = copy(self)
        if not len(catalog):
            return other
        vectors = vectors_of(content, self.config.encoders, self.name)
        with torch.no_grad():
            told = reading.of(vectors)
            arrived = self._alone(told).items()
            other._reader = self._longer_reader(len(told))
            other.evidence = _joined(self.evidence[: self.reader.n_items], arrived.evidence)
        # A catalogue is large and what arrives is small: nothing is computed anew, and little is copied.
        other._item_vectors = self._item_vectors.with_more(self._table(arrived.vectors, arrived.base))
        other._arrived = torch.cat([self._arrived, told])
        return other

    def modality_shares(self) -> FloatMatrix:
        """(items, encoders) float64: how much of an item's content is read of each encoder; 0 of what it lacks.

        Raises `ConfigError` of a model that was trained without content.
        """
        reading = self._reading()
        with torch.no_grad():
            arrived = self._alone(self._arrived).content
            shares = torch.cat([reading.shares(), cast(ContentReading, arrived).shares()])
        return cast(FloatMatrix, shares.numpy())

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)

    def _reading(self) -> ContentReading:
        """Raises `ConfigError` of a model that was trained without content."""
        if self.network.content is None:
            raise ConfigError(f"{self.name}: trained without content; set `encoders` and train again")
        return self.network.content

    def _alone(self, told: Tensor) -> L:
        """The network over nothing but items of the narrowed content `told` (n, encoders * content_dim)."""
        state, n_items = self.network.state_dict(), self.network.n_items
        blank = {name: state[name].new_zeros(len(told), *state[name].shape[1:]) for name in self.network.by_item}
        tables = {name: torch.cat([rows, state[name][n_items:]]) for name, rows in blank.items()}
        return over(self.network, len(told), {**tables, "content.narrowed": told})

    def _longer_reader(self, arrived: int) -> L:
        """What reads histories with `arrived` more items in them; other tables stay as they are."""
        state, n_items = self.reader.state_dict(), self.reader.n_items
        blank = {name: state[name].new_zeros(arrived, *state[name].shape[1:]) for name in self.network.looked_up}
        tables = {name: _joined(state[name][:n_items], rows, state[name][n_items:]) for name, rows in blank.items()}
        return over(self.reader, n_items + arrived, tables)

    def _table(self, vectors: Tensor, base: Tensor) -> FloatMatrix:
        level = base - self.config.trust * (vectors @ self.network.centre)
        return cast(FloatMatrix, torch.cat([vectors, level[:, None]], 1).numpy())


def _joined(*parts: Tensor) -> Tensor:
    """Rows behind each other. NumPy asks for large pages, which spares most of the time that new memory takes."""
    return torch.from_numpy(np.concatenate([part.numpy() for part in parts]))


class NextItemTask(NeuralTask[L]):
    """The popularity of the moment of each question is given, so that it need not be learned."""

    def __init__(self, model: NextItemModel[L], network: L, data: Dataset, run: Run, least: int) -> None:
        histories = data.histories.keep(data.histories.weights > 0)
        super().__init__(model, network, data, run, histories=histories, least=least)
        negatives = model.config.negatives
        if negatives is None:
            negatives = 0 if network.n_items <= ALL_SCORED else SAMPLED
        self.objective = Objective("cross-entropy", negatives, log_q=negatives > 0, weigh=model.config.weigh)
        if negatives:
            self.by_row = {name for name, _ in network.named_parameters() if name in network.by_item}
        self.moments = Moments.of(histories, len(data.items), data.now, model.config.half_life_days)
        self.logs = self.tensor(self.moments.logs)
        self.asked = _askable(histories, model.config.pause_days)
        with torch.no_grad():
            network.moment.copy_(torch.from_numpy(self.moments.logs[-1]))
        if network.content is not None:
            seen = np.bincount(histories.items, minlength=network.n_items) > 0
            network.known.copy_(torch.from_numpy(seen))
            vectors = vectors_of(data.content, model.config.encoders, model.name)
            if run.before is None:
                network.content.narrow(vectors)
            else:
                network.content.take(vectors)

    def sampled(self, few: Few[L], states: Tensor, answers: Tensor, moments: Tensor, negatives: Tensor) -> Tensor:
        """(p, 1 + k) scores of `answers` (p,) and of `negatives` (k,); a negative that is the answer counts nothing."""
        logs = torch.cat([self.logs[moments, answers][:, None], self.logs[:, negatives][moments]], 1)
        scores = few.network.sampled(states, few.rows(answers), few.rows(negatives), logs, few.items)
        hit = negatives == answers[:, None]
        return scores.masked_fill(F.pad(hit, (1, 0)), -1e9)


def _askable(histories: Histories, pause_days: float | None) -> BoolVector:
    """(events,) whether a question may be put just before an event."""
    anywhere = np.ones(len(histories.items), np.bool_)
    if pause_days is None:
        return anywhere
    came_back = histories.returns(pause_days)
    return came_back if came_back.any() else anywhere
