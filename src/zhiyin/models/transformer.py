"""A causal transformer with cross-entropy over items (Kang & McAuley, 2018; Klenitskiy & Vasilev, 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.models import Choice, Outputs, Range, Run, Shares
from zhiyin.models.next_item import NextItemConfig, NextItemModel, NextItemTask
from zhiyin.models.next_item_network import Few, NextItemNetwork
from zhiyin.models.sequences import alike


class TransformerConfig(NextItemConfig):
    length: int = Field(default=100, ge=2)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    batch_users: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)


@dataclass(frozen=True)
class Packed:
    """Histories behind each other without padding, each behind the row that starts it.

    rows: (tokens,) of the table. places: (tokens,) of each in its history. groups: tokens (n, width) of histories of
    about the same length, the last one of each repeated. back: (tokens,) where each is in the groups behind each other.
    """

    rows: Tensor
    places: Tensor
    groups: tuple[Tensor, ...]
    back: Tensor

    @classmethod
    def of(cls, rows: IntVector, lengths: IntVector, device: Any = "cpu") -> Self:
        """rows: (tokens,) of histories of `lengths` (n,), each at least 1."""
        starts = np.cumsum(lengths) - lengths
        groups, back, taken = [], np.empty(len(rows), np.int64), 0
        for group in alike(lengths):
            columns = np.arange(lengths[group[0]])
            last = lengths[group, None] - 1
            tokens, real = starts[group, None] + np.minimum(columns, last), columns <= last
            back[tokens[real]] = taken + np.flatnonzero(real)
            taken += real.size
            groups.append(tokens)
        places = np.arange(len(rows)) - np.repeat(starts, lengths)
        told = (torch.from_numpy(each).to(device) for each in (rows, places, back, *groups))
        first, second, third, *others = told
        return cls(first, second, tuple(others), third)


def _gelu(values: Tensor) -> Tensor:
    # What torch has for it takes four times as long in float64.
    return values * torch.special.ndtr(values) if values.dtype is torch.float64 else F.gelu(values)


class Block(nn.Module):
    """Attention and feed-forward, each normed with what it is added to (Vaswani et al., 2017).

    From plain linear layers, so that per-user gradients can be taken.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.dropout = config.heads, config.dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.merge = nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, packed: Packed) -> Tensor:
        """(tokens, dim)"""
        told = torch.cat([self.query(states), self.key(states), self.value(states)], 1)
        read = torch.cat([self._attended(told, tokens) for tokens in packed.groups]).index_select(0, packed.back)
        return self._fed(states, read)

    def last(self, states: Tensor, packed: Packed) -> Tensor:
        """(n, dim) what `forward` says behind the last row of each history, where nobody asks of the others."""
        told = torch.cat([self.key(states), self.value(states)], 1)
        read = torch.cat([self._read_last(states, told, tokens) for tokens in packed.groups])
        places = torch.cat([tokens[:, -1] for tokens in packed.groups])
        return self._fed(states.index_select(0, places), read).index_select(0, places.argsort())

    def _fed(self, states: Tensor, read: Tensor) -> Tensor:
        """(k, dim) `states` (k, dim) with what they `read` (k, dim), and what that leads to."""
        states = self.attention_norm(states + self.drop(self.merge(read)))
        return cast(Tensor, self.feed_norm(states + self.drop(self.narrow(_gelu(self.widen(states))))))

    def _read_last(self, states: Tensor, told: Tensor, tokens: Tensor) -> Tensor:
        """(n, dim) what the last of each line of `tokens` (n, width) reads."""
        n, width = tokens.shape
        parts = told.index_select(0, tokens.flatten()).view(n, width, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        key, value = parts.unbind()
        query = self.query(states.index_select(0, tokens[:, -1])).view(n, 1, self.heads, -1).transpose(1, 2)
        # A line ends with its last token again and again, which is to be read once.
        real = F.pad(tokens.diff(dim=1) != 0, (1, 0), value=True)[:, None, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=real).reshape(n, -1)

    def _attended(self, told: Tensor, tokens: Tensor) -> Tensor:
        """(n * width, dim) what each of `tokens` (n, width) reads of those before it and of itself."""
        n, width = tokens.shape
        parts = told.index_select(0, tokens.flatten()).view(n, width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return read.transpose(1, 2).reshape(n * width, -1)


class Network(NextItemNetwork):
    """Rows 0 .. n-1 of `table` are items, row n starts every history."""

    by_item: ClassVar[frozenset[str]] = NextItemNetwork.by_item | {"table.weight"}

    def __init__(self, config: TransformerConfig, n_items: int, reads: Sequence[int]) -> None:
        super().__init__(n_items, config, reads)
        self.table = nn.Embedding(n_items + 1, config.dim)
        self.positions = nn.Embedding(config.length, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
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

    def forward(self, packed: Packed, evidence: Tensor) -> Tensor:
        """(tokens, dim) states after each row of the histories."""
        return cast(Tensor, self.blocks[-1](self._below(packed, evidence), packed))

    def _below(self, packed: Packed, evidence: Tensor) -> Tensor:
        """(tokens, dim) states that the last block reads."""
        states: Tensor = self.drop(F.embedding(packed.rows, evidence) + self.positions(packed.places))
        for block in islice(self.blocks, len(self.blocks) - 1):
            states = block(states, packed)
        return states

    def read(self, sequences: Sequence[IntVector], evidence: Tensor) -> Tensor:
        # With the row that starts a history, the latest place that training asked about is the last of the table.
        latest = [sequence[max(0, len(sequence) + 1 - self.positions.num_embeddings) :] for sequence in sequences]
        lengths = np.array([1 + len(sequence) for sequence in latest], np.int64)
        start = np.array([self.n_items])
        rows = np.concatenate([np.zeros(0, np.int64), *(part for sequence in latest for part in (start, sequence))])
        packed = Packed.of(rows, lengths)
        return cast(Block, self.blocks[-1]).last(self._below(packed, evidence), packed)


@dataclass(frozen=True)
class Batch:
    """Histories, and the q questions that are asked of them.

    tokens: (q,) after which event. answers, moments, owner: (q,) the item, when, and whose.
    """

    histories: Packed
    tokens: Tensor
    answers: Tensor
    moments: Tensor
    owner: Tensor


class Task(NextItemTask[Network]):
    """Ask after places of every user's latest events what comes next or later."""

    def batch(self, users: IntVector, generator: np.random.Generator) -> Batch:
        """Of each user a window of events, before the first of which and after each but the last may be asked.

        A window that may end before the history does has answers beyond it, as a question of today has.
        """
        items, length = self.histories.items, self.config.length
        first, end = self.histories.indptr[users], self.histories.indptr[users + 1]
        stop = generator.integers(np.minimum(end, first + length), end, endpoint=True)
        start = np.maximum(first, stop - length)
        lengths = stop - start
        owner = np.repeat(np.arange(len(users)), lengths)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        event = start[owner] + place
        rows = np.where(place == 0, self.module.n_items, items[event - 1])
        tokens = self._asked_of(event, owner, generator)
        ahead = end[owner[tokens]] - event[tokens]
        reach = ahead if self.config.horizon is None else np.minimum(self.config.horizon, ahead)
        answers = items[event[tokens] + (generator.random(len(tokens)) * reach).astype(np.int64)]
        moments = self.moments.rows(self.histories.timestamps[event[tokens]])
        columns = (self.tensor(column) for column in (tokens, answers, moments, owner[tokens]))
        return Batch(Packed.of(rows, lengths, self.device), *columns)

    def outputs(self, batch: Batch, negatives: Tensor | None) -> Outputs:
        answers, moments, owner, packed = batch.answers, batch.moments, batch.owner, batch.histories
        if negatives is None:
            items = self.module.items()
            states = self.module(packed, items.evidence).index_select(0, batch.tokens)
            shares = Shares(torch.arange(len(answers), device=answers.device), answers, states.new_ones(len(answers)))
            return Outputs(self.module.products(states, self.logs, moments, items), shares, owner)
        few = Few.of(self.module, packed.rows, answers, negatives)
        packed = replace(packed, rows=few.rows(packed.rows))
        states = few.network(packed, few.items.evidence).index_select(0, batch.tokens)
        scores = self.sampled(few, states, answers, moments, negatives)
        return Outputs(scores, torch.zeros_like(answers), owner)

    def _asked_of(self, event: IntVector, owner: IntVector, generator: np.random.Generator) -> IntVector:
        """Tokens before whose events something is asked: at most `questions` of each owner, drawn at random."""
        askable = np.flatnonzero(self.asked[event])
        order = askable[np.lexsort((generator.random(len(askable)), owner[askable]))]
        whose = owner[order]
        turn = np.arange(len(order)) - np.searchsorted(whose, whose)
        return np.sort(order[turn < self.config.questions])


class Transformer(NextItemModel[Network]):
    """Next-item scores from the latest `length` liked items; repeats and order count."""

    name: ClassVar[str] = "transformer"
    Config: ClassVar[type[TransformerConfig]] = TransformerConfig

    search: ClassVar[tuple[Mapping[str, Any], ...]] = (
        *NextItemModel.search,
        {"half_life_days": None, "horizon": 1, "trust": 1.0, "weigh": "events"},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        **NextItemModel.space,
        "layers": Range(1, 3),
        "heads": Choice((1, 2, 4)),
    }

    def sized(self, n_items: int, reads: Sequence[int]) -> Network:
        return Network(self.config, n_items, reads)

    def task(self, network: Network, data: Dataset, run: Run) -> Task:
        return Task(self, network, data, run, least=1)
