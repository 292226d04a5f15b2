"""The attentive model for ratings: the target's attention on what else its user rated.

With H the user's ratings without that of the target i, and e_j how far the rating of j in H lies from what is expected
of item j and of the user:

    weight_ij = tanh(p_i . k_j + b)                                 the stated nonlinearity is tanh
    rating_i  = mean + bias_i + bias_u + sum_j weight_ij e_j / sqrt |H|

The bias of a user is the shrunk mean of what the ratings in H say beyond their items' biases, so that nobody is known
by id. It is the neighbourhood model of Koren (2008, section 3) with weights that two vectors make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, Objective, Outputs, Parameters, Run
from zhiyin.core.results import Contributions
from zhiyin.models.neural import ItemNetwork, NeuralConfig, NeuralModel, NeuralTask
from zhiyin.models.sequences import pad

ITEMS_AT_ONCE = 10_000


class AttentiveRatingsConfig(NeuralConfig):
    """length: ratings of a history that are read, the latest when asked, drawn at random in training."""

    dim: int = Field(default=32, ge=2)
    length: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    patience: int = Field(default=3, ge=0)


class Network(ItemNetwork):
    """Row n of the tables pads. What is no rating has a `known` of 0."""

    by_item: ClassVar[frozenset[str]] = ItemNetwork.by_item | {"targets.weight", "keys.weight"}

    def __init__(self, config: AttentiveRatingsConfig, n_items: int) -> None:
        super().__init__(n_items)
        self.targets = nn.Embedding(n_items + 1, config.dim)
        self.keys = nn.Embedding(n_items + 1, config.dim)
        self.attention_bias = nn.Parameter(torch.zeros(1))
        self.log_caution = nn.Parameter(torch.log(torch.tensor([5.0])))
        self.centre = nn.Buffer(torch.zeros(1))
        self.scale = nn.Buffer(torch.zeros(2))
        self.rated = nn.Buffer(torch.zeros(1))
        self.drop = nn.Dropout(config.dropout)
        for table in (self.targets, self.keys):
            nn.init.normal_(table.weight, std=0.05)

    def biases(self, rows: Tensor) -> Tensor:
        return torch.cat([self.item_bias, self.item_bias.new_zeros(1)])[rows]

    def attention(self, rows: Tensor, asked: Tensor) -> Tensor:
        """(n, targets, length) of targets `asked` (n, targets) on histories `rows` (n, length)."""
        products = self.drop(self.targets(asked)) @ self.keys(rows).transpose(1, 2)
        return torch.tanh(products + self.attention_bias)

    def forward(self, rows: Tensor, ratings: Tensor, evidence: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Base (n, targets) and what each event adds to it (n, targets, length).

        ratings: (n, length). evidence: (n, targets, length) 1 where an event may speak of the target, 0 elsewhere.
        """
        beyond = (ratings - self.centre - self.biases(rows))[:, None]
        count = evidence.sum(2)
        user = (evidence * beyond).sum(2) / (count + self.log_caution.exp())
        weights = self.attention(rows, asked) * evidence / count.clamp(min=1)[..., None].sqrt()
        return self.centre + self.biases(asked) + user, weights * (beyond - user[..., None])


class Task(NeuralTask[Network]):
    """Ask about every rating of a user, each from the others."""

    objective = Objective("mse", weigh="events")

    def batch(self, users: IntVector, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        places = []
        for user in users:
            first, end = self.histories.indptr[user : user + 2]
            read = min(self.config.length, end - first)
            places.append(first + generator.choice(end - first, read, replace=False))
        width = max(map(len, places))
        rows = pad([self.histories.items[place] for place in places], width, self.module.n_items)
        ratings = np.zeros(rows.shape, np.float32)
        for line, place in enumerate(places):
            ratings[line, : len(place)] = self.histories.ratings[place]
        return self.tensor(rows), self.tensor(ratings), self.tensor(rows < self.module.n_items)

    def outputs(self, batch: tuple[Tensor, Tensor, Tensor], negatives: Tensor | None) -> Outputs:
        rows, ratings, known = batch
        others = known[:, None, :] & (rows[:, None, :] != rows[:, :, None])
        base, parts = self.module(rows, ratings, others.to(ratings.dtype), rows)
        return Outputs((base + parts.sum(2))[known], ratings[known], known.nonzero()[:, 0])


class AttentiveRatings(NeuralModel[Network]):
    """Expected ratings. Where the data has none, the weights of events stand in for them."""

    name: ClassVar[str] = "attentive-ratings"
    Config: ClassVar[type[AttentiveRatingsConfig]] = AttentiveRatingsConfig
    search: ClassVar[tuple[Mapping[str, Any], ...]] = ({"dim": 32}, {"dim": 64})

    def build(self, data: Dataset) -> Network:
        return Network(self.config, len(data.items))

    def shaped(self, parameters: Parameters) -> Network:
        return Network(self.config, len(parameters["item_bias"]))

    def task(self, network: Network, data: Dataset, run: Run) -> Task:
        rated = data.rating_scale is not None and bool(np.isfinite(data.histories.ratings).any())
        histories = data.histories if rated else replace(data.histories, ratings=data.histories.weights)
        histories = histories.keep(np.isfinite(histories.ratings))
        values = histories.ratings if len(histories.ratings) else np.zeros(1, np.float32)
        scale = data.rating_scale if rated else (float(values.min()), float(values.max()))
        network.centre.fill_(float(values.mean()))
        network.scale.copy_(torch.tensor(scale))
        network.rated.fill_(float(rated))
        return Task(self, network, data, run, histories=histories, least=2)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        """Expected ratings before they are cut to the scale, so that favourites keep their order."""
        items = np.arange(self.network.n_items) if candidates is None else candidates
        lines = np.broadcast_to(items, (len(queries), items.shape[-1]))
        scores = np.zeros(lines.shape)
        for row, query in enumerate(queries):
            for start in range(0, lines.shape[1], ITEMS_AT_ONCE):
                part = slice(start, start + ITEMS_AT_ONCE)
                base, parts, _ = self._read(query, lines[row, part])
                scores[row, part] = base + parts.sum(1)
        return scores

    def predict_ratings(self, queries: Sequence[Query], candidates: Candidates) -> FloatMatrix:
        """(queries, candidates) expected ratings, cut to the scale of the data."""
        low, high = self.network.scale.tolist()
        return np.clip(self.score(queries, candidates), low, high)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """Exact: base is what item and user are expected to give, parts what attention takes from each rating."""
        base, read, places = self._read(query, items)
        parts = np.zeros((len(items), len(query.history)))
        parts[:, places] = read
        return Contributions(base, parts)

    def _read(self, query: Query, items: IntVector) -> tuple[FloatVector, FloatMatrix, IntVector]:
        """Base (items,), parts (items, events read), and the places in the history of the events read."""
        network = self.network
        history = query.history
        values = (history.ratings if network.rated else history.weights).astype(np.float64)
        known = np.isfinite(values) & (history.items >= 0) & (history.items < network.n_items)
        places = np.flatnonzero(known)[-self.config.length :]
        rows = torch.from_numpy(history.items[places])[None]
        asked = torch.from_numpy(np.array(items))[None]
        ratings = torch.from_numpy(values[places])[None]
        with torch.inference_mode():
            others = (rows[:, None, :] != asked[:, :, None]).to(ratings.dtype)
            base, parts = network(rows, ratings, others, asked)
        return base[0].numpy(), parts[0].numpy(), places
