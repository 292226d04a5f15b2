"""The user's attention on their own history (after NAIS, He et al., 2018, and the attentive model of the docs).

With H the history without the target, u the mean of its value vectors and a the age of an event in it:

    weight_j = softmax over j in H of (u . k_j + b + bias_a)        the stated nonlinearity is the softmax
    score_i  = bias_i + p_i . sum_j weight_j v_j

Each event's share of a score, weight_j p_i . v_j, is exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, FitReport, Objective, Outputs, Parameters, Run, Schedule, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import prior_shift
from zhiyin.models.sequences import liked, pad

SCORING_BATCH = 256


class AttentiveConfig(BaseModel):
    """targets: events of each user asked about in one step, each from the events before it.

    half_life_days: scores count on the popularity of now, fading at this rate, in place of that of the whole period.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(default=64, ge=2)
    length: int = Field(default=50, ge=1)
    targets: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    half_life_days: float | None = Field(default=None, gt=0)
    epochs: int = Field(default=60, ge=1)
    batch_users: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    patience: int = Field(default=6, ge=0)


class Network(nn.Module):
    """Row n of the history tables pads a history and is masked."""

    def __init__(self, config: AttentiveConfig, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.keys = nn.Embedding(n_items + 1, config.dim)
        self.values = nn.Embedding(n_items + 1, config.dim)
        self.targets = nn.Embedding(n_items, config.dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.shift = nn.Buffer(torch.zeros(n_items))
        self.attention_bias = nn.Parameter(torch.zeros(1))
        self.age_bias = nn.Parameter(torch.zeros(config.length))
        self.drop = nn.Dropout(config.dropout)
        for table in (self.keys, self.values, self.targets):
            nn.init.normal_(table.weight, std=0.05)

    def attention(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n, length) and value vectors (n, length, dim) of histories `rows` (n, length), latest first."""
        known = (rows < self.n_items).to(self.item_bias.dtype)
        values = self.values(rows) * known[..., None]
        user = values.sum(1) / known.sum(1, keepdim=True).clamp(min=1)
        logits = (self.keys(rows) * user[:, None]).sum(2) + self.attention_bias + self.age_bias[: rows.shape[1]]
        weights = torch.softmax(logits.masked_fill(known == 0, -1e9), dim=1) * known
        return weights, values

    def forward(self, rows: Tensor) -> Tensor:
        """(n, dim): what each history says, zeros where it is empty."""
        weights, values = self.attention(rows)
        return cast(Tensor, self.drop((weights[..., None] * values).sum(1)))

    def scores(self, users: Tensor) -> Tensor:
        return users @ self.targets.weight.T + self.item_bias


class Task:
    """Ask about some events of each user, each from the events before it, so no target is its own evidence."""

    def __init__(self, model: "Attentive", histories: Histories, run: Run, n_items: int) -> None:
        config = model.config
        self.module = model.network
        self.histories, self.config, self.device = histories, config, run.device
        self.objective = Objective("cross-entropy")
        self.schedule = Schedule(
            epochs=config.epochs,
            batch_users=config.batch_users,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience if run.validate is not None else 0,
        )
        self.users: IntVector = np.flatnonzero(histories.lengths > 1)
        self.item_counts: FloatVector = np.bincount(histories.items, minlength=n_items).astype(np.float64) + 1e-3
        self._model, self._validate, self._padding = model, run.validate, n_items

    def batch(self, users: IntVector, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        evidence, targets, owner = [], [], []
        for place, user in enumerate(users):
            items = self.histories.items[self.histories.indptr[user] : self.histories.indptr[user + 1]]
            asked = generator.choice(np.arange(1, len(items)), min(self.config.targets, len(items) - 1), replace=False)
            for position in asked:
                before = items[max(0, position - self.config.length) : position]
                evidence.append(before[before != items[position]][::-1])
                targets.append(items[position])
                owner.append(place)
        rows = pad(evidence, max(1, *map(len, evidence)), self._padding)
        tensors = (torch.from_numpy(np.asarray(array, np.int64)) for array in (rows, targets, owner))
        return cast(tuple[Tensor, Tensor, Tensor], tuple(tensor.to(self.device) for tensor in tensors))

    def outputs(self, batch: tuple[Tensor, Tensor, Tensor], negatives: Tensor | None) -> Outputs:
        rows, target, owner = batch
        return Outputs(self.module.scores(self.module(rows)), target, owner)

    def validate(self) -> float | None:
        if self._validate is None:
            return None
        self._model.settle()
        return self._validate(self._model)


class Attentive:
    """Scores from the attention on the latest `length` liked items."""

    name: ClassVar[str] = "attentive"
    Config: ClassVar[type[AttentiveConfig]] = AttentiveConfig
    search: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"half_life_days": 7.0}, {"half_life_days": 60.0})

    def __init__(self, config: AttentiveConfig) -> None:
        self.config = config
        self.network: Network = cast(Network, None)
        self._frozen: Network | None = None

    def fit(self, data: Dataset, run: Run) -> FitReport:
        torch.manual_seed(run.seed)
        histories = data.histories.keep(data.histories.weights > 0)
        self.network = Network(self.config, len(data.items))
        counts = np.bincount(histories.items, minlength=len(data.items)) + 1.0
        with torch.no_grad():
            self.network.item_bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
            shift = prior_shift(histories, len(data.items), data.now, self.config.half_life_days)
            self.network.shift.copy_(torch.from_numpy(shift))
        report = run.trainer.run(Task(self, histories, run, len(data.items)), run)
        self.settle()
        return report

    def settle(self) -> None:
        """Scores come from a copy in float64: a list must not depend on who else is in the batch."""
        frozen = Network(self.config, self.network.n_items).double()
        frozen.load_state_dict(self.network.state_dict())
        self._frozen = frozen.eval()

    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, dim + 1): what the history says and a one that takes the item bias along."""
        network = self._network()
        vectors = [np.zeros((0, self.config.dim))]
        for start in range(0, len(queries), SCORING_BATCH):
            asked = queries[start : start + SCORING_BATCH]
            sequences = [q.history.items[liked(q, self.config.length, network.n_items)][::-1] for q in asked]
            rows = torch.from_numpy(pad(sequences, max(1, *map(len, sequences)), network.n_items))
            with torch.inference_mode():
                vectors.append(network(rows).numpy())
        users = np.concatenate(vectors)
        return np.concatenate([users, np.ones((len(users), 1))], axis=1)

    def item_vectors(self) -> FloatMatrix:
        network = self._network()
        bias = (network.item_bias.detach() + network.shift).numpy()
        return np.concatenate([network.targets.weight.detach().numpy(), bias[:, None]], axis=1)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """Exact: the score is the item's bias plus the weighted products of the events the attention reads."""
        network = self._network()
        base = (network.item_bias.detach() + network.shift).numpy()[items]
        parts = np.zeros((len(items), len(query.history)))
        read = liked(query, self.config.length, network.n_items)[::-1]
        if len(read):
            rows = torch.from_numpy(np.ascontiguousarray(query.history.items[read])[None])
            with torch.inference_mode():
                weights, values = network.attention(rows)
            shares = (weights[0, :, None] * values[0]).numpy()
            parts[:, read] = network.targets.weight.detach().numpy()[items] @ shares.T
        return Contributions(base, parts)

    def parameters(self) -> Parameters:
        return {name: value.detach().float().cpu().numpy() for name, value in self._network().state_dict().items()}

    def load_parameters(self, parameters: Parameters) -> None:
        try:
            network = Network(self.config, len(parameters["item_bias"]))
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in parameters.items()})
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                "attentive: these parameters are of another model or version; train it again"
            ) from error
        self.network = network
        self.settle()

    def _network(self) -> Network:
        if self._frozen is None:
            raise ArtifactError("attentive: not fitted yet; fit it or load parameters first")
        return self._frozen
