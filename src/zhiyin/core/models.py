"""Protocols of models, encoders and training."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query, Split
from zhiyin.core.results import Contributions

Candidates: TypeAlias = IntVector | IntMatrix
"""Item rows to score: (c,) shared by all queries, or (n, c) one line a query."""

Parameters: TypeAlias = Mapping[str, NDArray[Any]]


class Progress(Protocol):
    """Told of the course of a training; must not influence it."""

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None: ...

    def batch(self, done: int, total: int, loss: float) -> None: ...


class Silent:
    """Progress for nobody."""

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        return

    def batch(self, done: int, total: int, loss: float) -> None:
        return


@dataclass(frozen=True)
class Objective:
    """What a gradient model is trained for; every loss is a mean over users.

    loss: "mse" | "bce" | "bpr" | "cross-entropy". negatives: sampled items a position, 0 scores every item.
    log_q: correct sampled logits by the log of the sampling probability. weigh: "users" takes the mean over a user's
    positions; "events" their sum over the mean number of events, so that all positions count alike.
    """

    loss: Literal["mse", "bce", "bpr", "cross-entropy"]
    negatives: int = 0
    log_q: bool = False
    weigh: Literal["users", "events"] = "users"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. learning_rate for Adam; patience in epochs, 0 trains all `epochs`."""

    epochs: int
    batch_users: int
    learning_rate: float
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    patience: int = 0


@dataclass(frozen=True)
class Products:
    """Scores (p, n_items) by what they are products of, so that they need not all be held at once.

        scores = states @ vectors.T + bias + offsets[moments]

    Tensors (torch): states (p, dim), vectors (n_items, dim), bias (n_items,), offsets (m, n_items) from which nothing
    is learned, moments (p,) rows of them.
    """

    states: Any
    vectors: Any
    bias: Any
    offsets: Any
    moments: Any


@dataclass(frozen=True)
class Shares:
    """What positions ask for. Tensors (torch) of equal length: share[i] of position[i] is for item[i].

    The shares of a position add up to 1; positions are in order.
    """

    position: Any
    item: Any
    share: Any


@dataclass(frozen=True)
class Outputs:
    """A batch scored. Tensors (torch): `owner` (p,) the place of each position's user in the batch.

    mse: scores (p,) against target (p,) floats. Full scoring: `Products` against `Shares`, by cross-entropy.
    Sampled: scores (p, 1 + negatives), the positive first; target is all zeros.
    """

    scores: Any
    target: Any
    owner: Any


@runtime_checkable
class TrainingTask(Protocol):
    """What a gradient model hands to a trainer, which knows nothing of the model.

    settings: those of the model, and the fingerprint of the data; they tell one interrupted training from another.
    by_row: names of those parameters of the module of which a step meets few rows; their gradients are sparse.
    """

    module: Any
    by_row: Set[str]
    settings: Mapping[str, Any]
    objective: Objective
    schedule: Schedule
    users: IntVector
    item_counts: FloatVector

    def batch(self, users: IntVector, generator: np.random.Generator) -> Any:
        """Tensors for these users."""
        ...

    def outputs(self, batch: Any, negatives: Any | None) -> Outputs:
        """Scores of the batch; `negatives` (k,) shared item rows, None where all items are scored."""
        ...

    def validate(self) -> float | None:
        """The figure that early stopping watches, higher is better; None where there is nothing to watch."""
        ...


@dataclass(frozen=True)
class FitReport:
    """How a fit went. settled: settings that a refit on more data should use (the epoch that was best).

    history: one mapping an epoch, with "loss" and, where validated, "validation".
    """

    settled: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()


class Trainer(Protocol):
    def run(self, task: TrainingTask, run: "Run") -> FitReport: ...


class Statistics(Protocol):
    """Sums over users of a contribution of bounded norm, for models in closed form."""

    def sum(self, users: IntVector, per_users: Callable[[IntVector], Any], bound: float) -> Any:
        """`per_users(rows)` is the contribution of those users together; anything that adds up (dense or sparse)."""
        ...


@dataclass(frozen=True, eq=False)
class Before:
    """A model as it was fitted before more came in, by the same settings. Where nothing is taken over, a fit is anew.

    places: (n_items,) of the data's items among the items of `model`, or `UNKNOWN`. share: of the data's events, which
    came since.
    """

    model: "Model"
    places: IntVector
    share: float


@dataclass(frozen=True)
class Run:
    """What surrounds a fit without being a setting of the model.

    validate: the figure of a candidate model on validation data, higher is better. hold_out: divides later events off a
    data set, for what is fitted on answers that the rest of the model has not seen; None where it cannot. checkpoints:
    a folder in which an interrupted fit finds its place again. device: where networks are trained, as PyTorch calls it;
    no two are equal to the last digit but those of "cpu". before: from where a training goes on, for so many of
    its epochs as what came since is of all; None begins at random. until: the `time.monotonic()` at which a training is
    to be over: it begins no epoch but the first that would not be; None where it has all the time.
    """

    trainer: Trainer
    statistics: Statistics
    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    validate: Callable[["Model"], float] | None = None
    hold_out: Callable[[Dataset], Split | None] = lambda _: None
    checkpoints: Path | None = None
    before: Before | None = None
    until: float | None = None

    def called(self, name: str) -> "Run":
        """The same around a fit that keeps its checkpoints apart from others, under `name`."""
        folder = self.checkpoints
        return self if folder is None else replace(self, checkpoints=folder / name.replace(":", "-"))


class Model(Protocol):
    """Scores items for queries.

    `Config` is a frozen pydantic model, `config` an instance of it. A model is made by `Model(config)`, then
    fitted or given parameters; asking earlier raises `ArtifactError`.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    config: Any

    def __init__(self, config: Any) -> None: ...

    def fit(self, data: Dataset, run: Run) -> FitReport: ...

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        """(queries, items) or (queries, candidates); higher is better, finite; seen items are scored like others."""
        ...

    def parameters(self) -> Parameters: ...

    def load_parameters(self, parameters: Parameters) -> None: ...


class CompositeModel(Protocol):
    """A model made of others, as `Model(config, parts)`: `config.parts` says how each is made, by registered name.

    A part that reads encoders and names none reads `config.encoders`.
    """

    def __init__(self, config: Any, parts: Mapping[str, Model]) -> None: ...


@runtime_checkable
class RatingModel(Protocol):
    def predict_ratings(self, queries: Sequence[Query], candidates: Candidates) -> FloatMatrix:
        """(queries, candidates) expected ratings, within the data's scale."""
        ...


@runtime_checkable
class RankingTwin(Protocol):
    """rating_mode: the registered name of the model that predicts ratings as this one ranks."""

    rating_mode: ClassVar[str]


@runtime_checkable
class AdditiveModel(Protocol):
    """A model whose score is a sum over the events of the history."""

    def contributions(self, query: Query, items: IntVector) -> Contributions: ...


@runtime_checkable
class VectorModel(Protocol):
    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix: ...

    def item_vectors(self) -> FloatMatrix: ...


@runtime_checkable
class InductiveModel(Protocol):
    """A model that can go on with items which came after its training."""

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Model:
        """The same model over its own items and, in the rows behind them, those of `catalog`.

        They are known by what `catalog` and encoders (by name, each (n, d)) say of them. Raises `ConfigError` where an
        encoder that the model reads is not there.
        """
        ...


@runtime_checkable
class TaughtModel(Protocol):
    """A model that learns from answers which the rest of it has not seen; a fit on more data takes that over."""

    def learned(self) -> Parameters:
        """Empty where nothing was learned."""
        ...

    def take(self, learned: Parameters) -> None: ...


@runtime_checkable
class ItemDirections(Protocol):
    """A model that can say which items are alike, whatever their popularity."""

    def item_directions(self) -> FloatMatrix:
        """(items, dim); near in angle are items that the same people like."""
        ...


@runtime_checkable
class TunableModel(Protocol):
    """search: settings worth trying on validation data, each over the defaults."""

    search: ClassVar[tuple[Mapping[str, Any], ...]]


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, whole ones between whole ones. log: those of every size are alike likely."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    values: tuple[Any, ...]


@runtime_checkable
class ExplorableModel(Protocol):
    """space: settings and where good ones may lie, for a longer search than a few alternatives; defaults lie within."""

    config: Any
    space: ClassVar[Mapping[str, Range | Choice]]


@dataclass(frozen=True)
class Content:
    """What an encoder reads of one item; a modality that is absent is None.

    image, audio: paths or data URIs. attributes: lines of NAME=VALUE, a name once or several times. item: its id, for
    an encoder that looks up what others have found out.
    """

    text: str | None = None
    image: str | None = None
    audio: str | None = None
    attributes: str | None = None
    item: str | None = None


class Encoder(Protocol):
    name: ClassVar[str]
    modalities: frozenset[str]
    dim: int
    fingerprint: str

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        """(n, dim) float32, unit length; zeros where an item has nothing to read."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What a language model is asked. instructions, question: the program's own words, before the data and behind it.

    data: named texts that others wrote (items, users). A client hands them over so that they cannot end their place.
    """

    instructions: str
    data: Mapping[str, str]
    question: str


@dataclass(frozen=True)
class Completion:
    """An answer. first: probabilities of the likeliest first words (tokens), where they were asked for and given."""

    text: str
    first: Mapping[str, float] = field(default_factory=dict)


class LanguageModel(Protocol):
    """fingerprint: tells one model from another."""

    fingerprint: str

    def complete(self, prompt: Prompt, tokens: int, deadline: float, *, weighed: bool = False) -> Completion:
        """The likeliest answer of at most `tokens` tokens, within `deadline` seconds; `weighed` asks for `first`.

        Safe to use from several threads. Raises `ConfigError` where no answer comes in time, `RefusedTextError` where
        the model will not answer to this text.
        """
        ...


def gather(scores: FloatMatrix, candidates: Candidates | None) -> FloatMatrix:
    """The columns of full `scores` (n, items) that `candidates` name."""
    if candidates is None:
        return scores
    return scores[:, candidates] if candidates.ndim == 1 else np.take_along_axis(scores, candidates, axis=1)
