"""A causal transformer with cross-entropy over items (Kang & McAuley, 2018; Klenitskiy & Vasilev, 2023)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, FitReport, Objective, Outputs, Parameters, Run, Schedule, gather
from zhiyin.models.inputs import prior_shift
from zhiyin.models.sequences import latest, liked, pad

SCORING_BATCH = 256
IGNORED = -100


class TransformerConfig(BaseModel):
    """negatives: 0 scores every item in the loss, otherwise that many sampled by popularity and log-Q corrected.

    half_life_days: scores count on the popularity of now, fading at this rate, in place of that of the whole period.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(default=64, ge=4)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    length: int = Field(default=100, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    half_life_days: float | None = Field(default=None, gt=0)
    negatives: int = Field(default=0, ge=0)
    epochs: int = Field(default=60, ge=1)
    batch_users: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    patience: int = Field(default=6, ge=0)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, from plain linear layers so that per-user gradients can be taken."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.dropout = config.heads, config.dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.merge = nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, states: Tensor) -> Tensor:
        n, length, dim = states.shape
        normed = self.attention_norm(states)
        query, key, value = (
            layer(normed).view(n, length, self.heads, dim // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        states = states + self.drop(self.merge(read.transpose(1, 2).reshape(n, length, dim)))
        return cast(Tensor, states + self.drop(self.narrow(F.gelu(self.widen(self.feed_norm(states))))))


class Network(nn.Module):
    """Rows 0 .. n-1 of `items` are items, row n starts every history and row n + 1 pads it."""

    def __init__(self, config: TransformerConfig, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.items = nn.Embedding(n_items + 2, config.dim)
        self.positions = nn.Embedding(config.length + 1, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.shift = nn.Buffer(torch.zeros(n_items))
        self.drop = nn.Dropout(config.dropout)
        nn.init.normal_(self.items.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, length, dim) states after each position of `rows` (n, length)."""
        places = torch.arange(rows.shape[1], device=rows.device)
        states = self.drop(self.items(rows) + self.positions(places))
        for block in self.blocks:
            states = block(states)
        return cast(Tensor, self.norm(states))

    def scores(self, states: Tensor, rows: Tensor | None = None) -> Tensor:
        """States against all items, or against the given rows."""
        if rows is None:
            return states @ self.items.weight[: self.n_items].T + self.bias
        return cast(Tensor, states @ self.items(rows).T + self.bias[rows])


class Task:
    """Predict every next item of every user's latest events."""

    def __init__(self, model: "Transformer", histories: Histories, run: Run, n_items: int) -> None:
        config = model.config
        self.module = model.network
        self.histories = histories
        self.n_items, self.length, self.device = n_items, config.length, run.device
        self.objective = Objective("cross-entropy", config.negatives, log_q=config.negatives > 0)
        self.schedule = Schedule(
            epochs=config.epochs,
            batch_users=config.batch_users,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience if run.validate is not None else 0,
        )
        self.users: IntVector = np.flatnonzero(histories.lengths > 0)
        self.item_counts: FloatVector = np.bincount(histories.items, minlength=n_items).astype(np.float64) + 1e-3
        self._model, self._validate = model, run.validate

    def batch(self, users: IntVector, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        sequences = latest(self.histories, users, self.length)
        width = max(map(len, sequences))
        start = np.full((len(users), 1), self.n_items)
        inputs = np.concatenate([start, pad([s[:-1] for s in sequences], width - 1, self.n_items + 1)], axis=1)
        targets = pad(sequences, width, IGNORED)
        return torch.from_numpy(inputs).to(self.device), torch.from_numpy(targets).to(self.device)

    def outputs(self, batch: tuple[Tensor, Tensor], negatives: Tensor | None) -> Outputs:
        inputs, targets = batch
        asked = targets != IGNORED
        states = self.module(inputs)[asked]
        owner = asked.nonzero()[:, 0]
        target = targets[asked]
        if negatives is None:
            return Outputs(self.module.scores(states), target, owner)
        positive = (states * self.module.items(target)).sum(1) + self.module.bias[target]
        sampled = self.module.scores(states, negatives).masked_fill(negatives == target[:, None], -1e9)
        return Outputs(torch.cat([positive[:, None], sampled], 1), torch.zeros_like(target), owner)

    def validate(self) -> float | None:
        if self._validate is None:
            return None
        self._model.settle()
        return self._validate(self._model)


class Transformer:
    """Next-item scores from the latest `length` liked items; repeats and order count."""

    name: ClassVar[str] = "transformer"
    Config: ClassVar[type[TransformerConfig]] = TransformerConfig
    search: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"half_life_days": 7.0})

    def __init__(self, config: TransformerConfig) -> None:
        self.config = config
        self.network: Network = cast(Network, None)
        self._frozen: Network | None = None

    def fit(self, data: Dataset, run: Run) -> FitReport:
        torch.manual_seed(run.seed)
        histories = data.histories.keep(data.histories.weights > 0)
        self.network = Network(self.config, len(data.items))
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
        """(queries, dim + 1): the last state and a one that takes the item bias along."""
        network = self._network()
        vectors = [np.zeros((0, self.config.dim))]
        for start in range(0, len(queries), SCORING_BATCH):
            asked = queries[start : start + SCORING_BATCH]
            sequences = [q.history.items[liked(q, self.config.length, network.n_items)] for q in asked]
            width = max(map(len, sequences))
            begin = np.full((len(sequences), 1), network.n_items)
            rows = torch.from_numpy(np.concatenate([begin, pad(sequences, width, network.n_items + 1)], axis=1))
            with torch.inference_mode():
                states = network(rows)[torch.arange(len(sequences)), torch.tensor([len(s) for s in sequences])]
            vectors.append(states.numpy())
        states = np.concatenate(vectors)
        return np.concatenate([states, np.ones((len(states), 1))], axis=1)

    def item_vectors(self) -> FloatMatrix:
        network = self._network()
        weight = network.items.weight.detach()[: network.n_items].numpy()
        return np.concatenate([weight, (network.bias.detach() + network.shift).numpy()[:, None]], axis=1)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)

    def parameters(self) -> Parameters:
        return {name: value.detach().float().cpu().numpy() for name, value in self._network().state_dict().items()}

    def load_parameters(self, parameters: Parameters) -> None:
        try:
            network = Network(self.config, len(parameters["bias"]))
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in parameters.items()})
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                "transformer: these parameters are of another model or version; train it again"
            ) from error
        self.network = network
        self.settle()

    def _network(self) -> Network:
        if self._frozen is None:
            raise ArtifactError("transformer: not fitted yet; fit it or load parameters first")
        return self._frozen
