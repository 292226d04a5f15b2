"""A causal transformer with cross-entropy over items (Kang & McAuley, 2018; Klenitskiy & Vasilev, 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import IntMatrix, IntVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.models import Outputs, Run, Shares
from zhiyin.models.next_item import NextItemConfig, NextItemModel, NextItemNetwork, NextItemTask
from zhiyin.models.sequences import alike, pad

IGNORED = -100


class TransformerConfig(NextItemConfig):
    length: int = Field(default=100, ge=2)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    batch_users: int = Field(default=64, ge=1)
    weight_decay: float = Field(default=1e-4, ge=0)


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


class Network(NextItemNetwork):
    """Rows 0 .. n-1 of `table` are items, row n starts every history and row n + 1 pads it."""

    by_item: ClassVar[frozenset[str]] = NextItemNetwork.by_item | {"table.weight"}

    def __init__(self, config: TransformerConfig, n_items: int, reads: Sequence[int]) -> None:
        super().__init__(n_items, config, reads)
        self.table = nn.Embedding(n_items + 2, config.dim)
        self.positions = nn.Embedding(config.length, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.drop = nn.Dropout(config.dropout)
        nn.init.normal_(self.table.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    @property
    def ids(self) -> Tensor:
        return self.table.weight[: self.n_items]

    def evidence(self, vectors: Tensor, shares: Tensor | None) -> Tensor:
        if self.content is None:
            return self.table.weight
        return torch.cat([vectors, self.table.weight[self.n_items :]])

    def forward(self, rows: Tensor, evidence: Tensor) -> Tensor:
        """(n, length, dim) states after each position of `rows` (n, length)."""
        places = torch.arange(rows.shape[1], device=rows.device)
        states = self.drop(F.embedding(rows, evidence) + self.positions(places))
        for block in self.blocks:
            states = block(states)
        return cast(Tensor, self.norm(states))

    def read(self, sequences: Sequence[IntVector], evidence: Tensor) -> Tensor:
        # With the row that starts a history, the latest place that training asked about is the last of the table.
        sequences = [sequence[max(0, len(sequence) + 1 - self.positions.num_embeddings) :] for sequence in sequences]
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        states = evidence.new_empty(len(sequences), evidence.shape[1])
        for group in alike(lengths):
            rows = torch.from_numpy(begun([sequences[place] for place in group], self.n_items))
            states[group] = self(rows, evidence)[torch.arange(len(group)), torch.from_numpy(lengths[group])]
        return states


@dataclass(frozen=True)
class Part:
    """Histories `rows` (n, length) of a batch, and the q questions that are asked of them.

    row, place: (q,) after which event of which history. answers, moments, owner: (q,) the item, when, and whose.
    """

    rows: Tensor
    row: Tensor
    place: Tensor
    answers: Tensor
    moments: Tensor
    owner: Tensor


class Task(NextItemTask[Network]):
    """Ask after places of every user's latest events what comes next or later."""

    def batch(self, users: IntVector, generator: np.random.Generator) -> list[Part]:
        asked = [self._questions(user, generator) for user in users]
        lengths = np.array([len(items) for items, _, _ in asked], np.int64)
        return [self._part(group, [asked[place] for place in group]) for group in alike(lengths)]

    def outputs(self, batch: list[Part], negatives: Tensor | None) -> Outputs:
        items = self.module.items()
        states = torch.cat([self.module(part.rows, items.evidence)[part.row, part.place] for part in batch])
        target, moments, owner = (
            torch.cat([getattr(part, name) for part in batch]) for name in ("answers", "moments", "owner")
        )
        if negatives is None:
            shares = Shares(torch.arange(len(target), device=target.device), target, states.new_ones(len(target)))
            return Outputs(self.module.products(states, self.logs, moments, items), shares, owner)
        return Outputs(self.sampled(states, target, moments, negatives, items), torch.zeros_like(target), owner)

    def _questions(self, user: int, generator: np.random.Generator) -> tuple[IntVector, IntVector, IntVector]:
        """The items of a window of the user's history; what each place of it is asked for, and the row of its moment.

        A window that may end before the history does has answers beyond it, as a question of today has.
        """
        first, end = self.histories.indptr[user : user + 2].tolist()
        stop = generator.integers(min(end, first + self.config.length), end + 1)
        window = np.arange(max(first, stop - self.config.length), stop)
        moments = self.moments.rows(self.histories.timestamps[window])
        return self.histories.items[window], self._answers(window, end, generator), moments

    def _part(self, owner: IntVector, asked: Sequence[tuple[IntVector, IntVector, IntVector]]) -> Part:
        items, answers, moments = zip(*asked, strict=True)
        width = max(map(len, items))
        rows = begun([sequence[:-1] for sequence in items], self.module.n_items)
        target, moment = pad(answers, width, IGNORED), pad(moments, width, 0)
        row, place = np.nonzero(target != IGNORED)
        columns = (rows, row, place, target[row, place], moment[row, place], owner[row])
        return Part(*(self.tensor(column) for column in columns))

    def _answers(self, window: IntVector, end: int, generator: np.random.Generator) -> IntVector:
        """An item from each place of the window on that is asked about, `IGNORED` for the others."""
        ahead = end - window
        reach = ahead if self.config.horizon is None else np.minimum(self.config.horizon, ahead)
        answers = self.histories.items[window + (generator.random(len(window)) * reach).astype(np.int64)]
        asked = generator.permutation(np.flatnonzero(self.asked[window]))[: self.config.questions]
        return np.where(np.isin(np.arange(len(window)), asked), answers, IGNORED)


class Transformer(NextItemModel[Network]):
    """Next-item scores from the latest `length` liked items; repeats and order count."""

    name: ClassVar[str] = "transformer"
    Config: ClassVar[type[TransformerConfig]] = TransformerConfig

    def sized(self, n_items: int, reads: Sequence[int]) -> Network:
        return Network(self.config, n_items, reads)

    def task(self, network: Network, data: Dataset, run: Run) -> Task:
        return Task(self, network, data, run, least=1)


def begun(sequences: Sequence[IntVector], n_items: int) -> IntMatrix:
    """(n, 1 + longest): each history behind the row that starts it."""
    width = max([0, *map(len, sequences)])
    start = np.full((len(sequences), 1), n_items)
    return np.concatenate([start, pad(sequences, width, n_items + 1)], axis=1)
