"""What gradient models share: settings, the task that a trainer is handed, parameters in and out, vectors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import Histories
from zhiyin.core.models import (
    Candidates,
    FitReport,
    Objective,
    Outputs,
    Parameters,
    Run,
    Schedule,
    TrainingTask,
    gather,
)
from zhiyin.models.content_reading import ContentReading, vectors_of
from zhiyin.models.inputs import DAY
from zhiyin.models.moments import Moments
from zhiyin.models.sequences import liked
from zhiyin.models.stored import ModelConfig

SCORING_BATCH = 256

CENTRE_STEP = 0.1

ALL_SCORED, SAMPLED = 20_000, 1_000


class NeuralConfig(ModelConfig):
    """Settings of every gradient model.

    dim: of item vectors. length: latest events of a history that are read. patience: epochs without a better validation
    figure after which training stops; where nothing validates, all epochs are trained.
    """

    dim: int = Field(default=64, ge=2)
    length: int = Field(default=100, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    epochs: int = Field(default=60, ge=1)
    batch_users: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    patience: int = Field(default=6, ge=0)


class NextItemConfig(NeuralConfig):
    """Settings of the models that learn what comes next.

    half_life_days: at which the popularity fades that scores count on; None takes that of the whole period. horizon:
    the answers to a training question come from that many events after it, None from all of them. pause_days: questions
    are put where a user came back after that long, as one who is served a first list has, not in the middle of a
    session; None puts them anywhere, as does a log in which nobody ever came back. questions: at most that many places
    of a history are asked about in one step, drawn at random. negatives: 0 scores every item in the
    loss, otherwise that many sampled by popularity and log-Q corrected; None scores all of a catalogue of up to 20,000
    items, and 1,000 of a larger one. trust: how much of what a history says a score takes, beside the item's base:
    training is surer of itself than the weeks after it bear out. encoders: whose content vectors items are read by,
    beside an id of their own; without any, an item without events is as good as unknown. content_dim: to which those
    vectors are narrowed. id_dropout: share of the items that a training step knows by content alone, so that new ones
    can be scored.
    """

    half_life_days: float | None = Field(default=3.0, gt=0)
    horizon: int | None = Field(default=None, ge=1)
    pause_days: float | None = Field(default=None, gt=0)
    questions: int = Field(default=32, ge=1)
    negatives: int | None = Field(default=None, ge=0)
    trust: float = Field(default=0.5, gt=0, le=1)
    encoders: tuple[str, ...] = ()
    content_dim: int = Field(default=128, ge=1)
    id_dropout: float = Field(default=0.2, ge=0, le=1)


class ItemNetwork(nn.Module):
    """A network over the rows of `n_items` items."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.item_bias = nn.Parameter(torch.zeros(n_items))


@dataclass(frozen=True)
class Items:
    """Items as what may come next. vectors (n, dim), base (n,), known (n,): 1 where an item goes by its id."""

    vectors: Tensor
    base: Tensor
    known: Tensor


class NextItemNetwork(ItemNetwork, ABC):
    """score_i = (state - centre) . vector_i + base_i (+ log popularity_i of the moment, of an item known by its id).

    vector_i = id_i + R content_i, and base_i the item's own bias; of an item that is known by content alone, vector_i =
    R content_i and base_i = newcomer + r . content_i. The centre is the mean of the states asked about, of a batch in
    training and running otherwise, so that what everybody shares is left to the popularity.
    """

    def __init__(self, n_items: int, config: NextItemConfig, read: int, gain: float = 1.0) -> None:
        super().__init__(n_items)
        self.id_dropout = config.id_dropout
        self.centre = nn.Buffer(torch.zeros(config.dim))
        self.moment = nn.Buffer(torch.zeros(n_items))
        self.known = nn.Buffer(torch.ones(n_items))
        self.content: ContentReading | None = None
        if read:
            self.content = ContentReading(n_items, read, config.content_dim, config.dim, gain)

    @property
    @abstractmethod
    def ids(self) -> Tensor:
        """(n_items, dim) vectors that items have of their own."""

    @abstractmethod
    def read(self, sequences: Sequence[IntVector], items: Items) -> Tensor:
        """(n, dim) states after histories of items, oldest first."""

    def items(self) -> Items:
        """In training, a share of the known items drawn at random goes by content alone."""
        if self.content is None:
            return Items(self.ids, self.item_bias, torch.ones_like(self.known))
        known: Tensor = self.known
        if self.training:
            known = known * (torch.rand_like(known) >= self.id_dropout)
        told, base = self.content()
        return Items(known[:, None] * self.ids + told, known * self.item_bias + (1 - known) * base, known)

    def scores(self, states: Tensor, moments: Tensor, items: Items) -> Tensor:
        """(n, n_items) of states (n, dim) when log popularity is `moments` (n, n_items)."""
        return self.centred(states) @ items.vectors.T + items.base + items.known * moments

    def sampled(self, states: Tensor, rows: Tensor, moments: Tensor, items: Items) -> Tensor:
        """(n, k) scores of the items `rows` (n, k), whose log popularity is `moments` (n, k)."""
        products = (self.centred(states)[:, None] * items.vectors[rows]).sum(2)
        return products + items.base[rows] + items.known[rows] * moments

    def centred(self, states: Tensor) -> Tensor:
        if not self.training or not len(states):
            return states - self.centre
        mean = states.mean(0)
        self.centre.lerp_(mean.detach(), CENTRE_STEP)
        return states - mean


N = TypeVar("N", bound=ItemNetwork)
L = TypeVar("L", bound=NextItemNetwork)


class NeuralModel(ABC, Generic[N]):
    """A model around one network; scores come from a copy in float64."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        self.config = config
        self._trained: N | None = None
        self._frozen: N | None = None

    @abstractmethod
    def build(self, data: Dataset) -> N:
        """A network for `data` with parameters drawn at random."""

    @abstractmethod
    def shaped(self, parameters: Parameters) -> N:
        """A network that `parameters` fit into. Raises `KeyError` where they are of another model."""

    @abstractmethod
    def task(self, network: N, data: Dataset, run: Run) -> TrainingTask:
        """What the network is trained for; sets what the network takes from `data` untrained."""

    @abstractmethod
    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix: ...

    def fit(self, data: Dataset, run: Run) -> FitReport:
        torch.manual_seed(run.seed)
        self._trained = self.build(data)
        report = run.trainer.run(self.task(self._trained, data, run), run)
        self.settle()
        return report

    def settle(self) -> None:
        """Takes over the network as trained so far, in float64: a list must not depend on who else is in the batch."""
        if self._trained is None:
            raise ArtifactError(f"{self.name}: not fitted yet; fit it or load parameters first")
        self._frozen = deepcopy(self._trained).double().eval().requires_grad_(False)

    def parameters(self) -> Parameters:
        return {name: value.float().cpu().numpy() for name, value in self.network.state_dict().items()}

    def load_parameters(self, parameters: Parameters) -> None:
        try:
            network = self.shaped(parameters)
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in parameters.items()})
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                f"{self.name}: these parameters are of another model or version; train it again"
            ) from error
        self._trained = network
        self.settle()

    @property
    def network(self) -> N:
        """The network that answers. Raises `ArtifactError` before a fit or a load."""
        if self._frozen is None:
            raise ArtifactError(f"{self.name}: not fitted yet; fit it or load parameters first")
        return self._frozen


class NextItemModel(NeuralModel[L]):
    """A model whose scores are products of a vector of the history with vectors of items."""

    search: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"half_life_days": 3.0},
        {"half_life_days": 30.0},
        {"half_life_days": 3.0, "horizon": 1, "trust": 1.0},
    )

    @abstractmethod
    def sized(self, n_items: int, read: int) -> L:
        """A network over `n_items` items and content vectors of `read` numbers, 0 for none."""

    def build(self, data: Dataset) -> L:
        """Raises `ConfigError` where the data set has no vectors of an encoder."""
        if not self.config.encoders:
            return self.sized(len(data.items), 0)
        return self.sized(len(data.items), vectors_of(data.content, self.config.encoders, self.name).shape[1])

    def shaped(self, parameters: Parameters) -> L:
        mean = parameters.get("content.mean")
        return self.sized(len(parameters["item_bias"]), 0 if mean is None else len(mean))

    def settle(self) -> None:
        super().settle()
        network = self.network
        with torch.inference_mode():
            self._items = network.items()
            base = self._items.base + self._items.known * network.moment
        self._item_vectors: FloatMatrix = self._table(self._items.vectors, base)

    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, dim + 1) float64: the trusted state of the history, and a one that takes the item's base along."""
        network = self.network
        states = [np.zeros((0, self.config.dim))]
        for start in range(0, len(queries), SCORING_BATCH):
            asked = queries[start : start + SCORING_BATCH]
            sequences = [q.history.items[liked(q, self.config.length, network.n_items)] for q in asked]
            with torch.inference_mode():
                states.append(network.read(sequences, self._items).numpy())
        together = self.config.trust * np.concatenate(states)
        return np.concatenate([together, np.ones((len(together), 1))], axis=1)

    def item_vectors(self) -> FloatMatrix:
        """(items, dim + 1) float64, the last column the score of an item whatever the history."""
        return self._item_vectors

    def item_directions(self) -> FloatMatrix:
        """(items, dim) float64: what tells items apart for people, without how popular they are."""
        return self._item_vectors[:, :-1]

    def embed_items(self, content: Mapping[str, FloatMatrix]) -> FloatMatrix:
        """(n, dim + 1) rows as of `item_vectors`, of items that came after training, from their content alone."""
        reading = self.network.content
        if reading is None:
            raise ConfigError(f"{self.name}: trained without content; set `encoders` and train again")
        told = vectors_of(content, self.config.encoders, self.name)
        with torch.inference_mode():
            vectors, base = reading.of(torch.from_numpy(np.asarray(told, np.float64)))
        return self._table(vectors, base)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)

    def _table(self, vectors: Tensor, base: Tensor) -> FloatMatrix:
        level = base - self.config.trust * (vectors @ self.network.centre)
        return cast(FloatMatrix, torch.cat([vectors, level[:, None]], 1).numpy())


class NeuralTask(ABC, Generic[N]):
    """Histories in batches of users; `least` events make a user worth learning from."""

    objective: Objective

    def __init__(
        self, model: NeuralModel[N], network: N, data: Dataset, run: Run, *, histories: Histories, least: int
    ) -> None:
        config = model.config
        self.module = network
        self.settings: Mapping[str, Any] = {"data": data.fingerprint, **config.model_dump()}
        self.histories, self.config, self.device = histories, config, run.device
        self.schedule = Schedule(
            epochs=config.epochs,
            batch_users=config.batch_users,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience if run.validate is not None else 0,
        )
        self.users: IntVector = np.flatnonzero(histories.lengths >= least)
        counts = np.bincount(histories.items, minlength=network.n_items)
        self.item_counts: FloatVector = counts.astype(np.float64) + 1e-3
        self._model, self._validate = model, run.validate

    @abstractmethod
    def batch(self, users: IntVector, generator: np.random.Generator) -> Any: ...

    @abstractmethod
    def outputs(self, batch: Any, negatives: Any | None) -> Outputs: ...

    def validate(self) -> float | None:
        if self._validate is None:
            return None
        self._model.settle()
        return self._validate(self._model)

    def tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.asarray(array)).to(self.device)


class NextItemTask(NeuralTask[L]):
    """The popularity of the moment of each question is given, so that it need not be learned."""

    def __init__(self, model: NextItemModel[L], network: L, data: Dataset, run: Run, least: int) -> None:
        histories = data.histories.keep(data.histories.weights > 0)
        super().__init__(model, network, data, run, histories=histories, least=least)
        negatives = model.config.negatives
        if negatives is None:
            negatives = 0 if network.n_items <= ALL_SCORED else SAMPLED
        self.objective = Objective("cross-entropy", negatives, log_q=negatives > 0)
        self.moments = Moments.of(histories, len(data.items), data.now, model.config.half_life_days)
        self.logs = self.tensor(self.moments.logs)
        self.asked = _askable(histories, model.config.pause_days)
        with torch.no_grad():
            network.moment.copy_(torch.from_numpy(self.moments.logs[-1]))
        if network.content is not None:
            seen = np.bincount(histories.items, minlength=network.n_items) > 0
            network.known.copy_(torch.from_numpy(seen))
            network.content.narrow(vectors_of(data.content, model.config.encoders, model.name))

    def sampled(self, states: Tensor, answers: Tensor, moments: Tensor, negatives: Tensor, items: Items) -> Tensor:
        """(p, 1 + k) scores of `answers` (p,) and of `negatives` (k,); a negative that is the answer counts nothing."""
        rows = torch.cat([answers[:, None], negatives.expand(len(answers), -1)], 1)
        scores = self.module.sampled(states, rows, self.logs[moments[:, None], rows], items)
        hit = rows == answers[:, None]
        hit[:, 0] = False
        return scores.masked_fill(hit, -1e9)


def _askable(histories: Histories, pause_days: float | None) -> BoolVector:
    """(events,) whether a question may be put just before an event."""
    anywhere = np.ones(len(histories.items), np.bool_)
    if pause_days is None:
        return anywhere
    times = histories.timestamps
    came_back = np.concatenate([[False], np.diff(times) > DAY * pause_days])[: len(times)]
    came_back &= (histories.places > 0) & (times != MISSING_TIME) & (np.roll(times, 1) != MISSING_TIME)
    return came_back if came_back.any() else anywhere
