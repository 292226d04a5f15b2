"""The user's attention on their own history (after NAIS, He et al., 2018, and the attentive model of the docs).

With H the history, u the mean of its value vectors and a the age of an event in it, counted in events:

    weight_j = exp(u . k_j + bias_a) / (1 + sum over H of exp(u . k + bias))    a softmax in which nothing competes, too
    score_i  = base_i + trust p_i . sum_j weight_j v_j

base_i holds the item's bias, its popularity of the moment, and what the mean of all states takes off. Each event's
share of a score, trust weight_j p_i . v_j, is exact. The model for ratings is `attentive_ratings`.
"""

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Outputs, Run, Shares
from zhiyin.core.results import Contributions
from zhiyin.models.content_reading import Fusion
from zhiyin.models.next_item import NextItemConfig, NextItemModel, NextItemTask
from zhiyin.models.next_item_network import Few, NextItemNetwork
from zhiyin.models.sequences import liked, pad

GAIN = 8.0
"""Log odds that a likeness of one in content is worth at first."""


class AttentiveConfig(NextItemConfig):
    """targets: later events that one question asks for together. shuffled: share of the questions that are put to a
    history in random order, where a person's tastes answer and the session does not; only without a horizon.
    """

    length: int = Field(default=200, ge=1)
    weight_decay: float = Field(default=0.3, ge=0)
    questions: int = Field(default=4, ge=1)
    targets: int = Field(default=8, ge=1)
    shuffled: float = Field(default=0.5, ge=0, le=1)


class Network(NextItemNetwork):
    """Row n of the history tables pads a history and is masked."""

    by_item: ClassVar[frozenset[str]] = NextItemNetwork.by_item | {"keys.weight", "values.weight", "targets.weight"}
    looked_up: ClassVar[frozenset[str]] = frozenset({"keys.weight"})

    def __init__(self, config: AttentiveConfig, n_items: int, reads: Sequence[int]) -> None:
        super().__init__(n_items, config, reads, gain=GAIN)
        self.keys = nn.Embedding(n_items + 1, config.dim)
        self.values = nn.Embedding(n_items + 1, config.dim)
        self.targets = nn.Embedding(n_items, config.dim)
        self.age_bias = nn.Parameter(torch.zeros(config.length))
        self.drop = nn.Dropout(config.dropout)
        for table in (self.keys, self.values, self.targets):
            nn.init.normal_(table.weight, std=0.05)
        if self.content is not None:
            self.told = Fusion(len(reads), config.content_dim, config.dim, gain=1.0)

    @property
    def ids(self) -> Tensor:
        return self.targets.weight

    def evidence(self, vectors: Tensor, shares: Tensor | None) -> Tensor:
        """(n_items + 1, dim) value vectors: of an item that training never met, what its content tells."""
        if self.content is None or shares is None:
            return self.values.weight
        own = torch.cat([self.known, self.known.new_zeros(1)])[:, None] * self.values.weight
        return own + F.pad(self.told(self.content.blocks, shares), (0, 0, 0, 1))

    def attention(self, rows: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n, length) and value vectors (n, length, dim) of histories `rows` (n, length), latest first."""
        known = (rows < self.n_items).to(self.item_bias.dtype)
        values = F.embedding(rows, evidence) * known[..., None]
        user = values.sum(1) / known.sum(1, keepdim=True).clamp(min=1)
        logits = (self.keys(rows) * user[:, None]).sum(2) + self.age_bias[: rows.shape[1]]
        nothing = logits.new_zeros(len(rows), 1)
        weights = torch.softmax(torch.cat([logits.masked_fill(known == 0, -1e9), nothing], 1), dim=1)
        return weights[:, :-1], values

    def forward(self, rows: Tensor, evidence: Tensor) -> Tensor:
        """(n, dim): what each history says, zeros where it is empty."""
        weights, values = self.attention(rows, evidence)
        return cast(Tensor, self.drop((weights[..., None] * values).sum(1)))

    def read(self, sequences: Sequence[IntVector], evidence: Tensor) -> Tensor:
        return self.forward(latest_first(sequences, self.n_items), evidence)


class Task(NextItemTask[Network]):
    """Ask at some places of each history what the user goes on to, from the events before, never from the target."""

    def batch(self, users: IntVector, generator: np.random.Generator) -> tuple[Tensor, ...]:
        """Histories (q, longest), the user's place and the moment of each (q,), answers and their questions (p,)."""
        evidence, owner, times, answers = [], [], [], []
        shuffled = self.config.shuffled if self.config.horizon is None else 0.0
        read = np.zeros(self.module.n_items, np.bool_)
        for place, user in enumerate(users):
            first, end = self.histories.indptr[user : user + 2]
            cuts = 1 + np.flatnonzero(self.asked[first + 1 : end])
            for cut in generator.permutation(cuts)[: self.config.questions]:
                items = self.histories.items[first:end]
                if generator.random() < shuffled:
                    items = generator.permutation(items)
                before = items[max(0, cut - self.config.length) : cut]
                after = items[cut : None if self.config.horizon is None else cut + self.config.horizon]
                read[items[:cut]] = True
                after = after[~read[after]]
                read[items[:cut]] = False
                if len(after):
                    evidence.append(before)
                    owner.append(place)
                    times.append(self.histories.timestamps[first + cut])
                    answers.append(generator.choice(after, min(self.config.targets, len(after)), replace=False))
        question = np.repeat(np.arange(len(answers)), [len(each) for each in answers])
        columns = (
            np.array(owner, np.int64),
            self.moments.rows(np.array(times, np.int64)),
            np.concatenate([np.zeros(0, np.int64), *answers]),
            question.astype(np.int64),
        )
        rows = latest_first(evidence, self.module.n_items).to(self.device)
        return rows, *(self.tensor(column) for column in columns)

    def outputs(self, batch: tuple[Tensor, ...], negatives: Tensor | None) -> Outputs:
        rows, owner, moments, answers, question = batch
        if negatives is None:
            items = self.module.items()
            states = self.module(rows, items.evidence)
            alike = 1.0 / torch.bincount(question, minlength=len(rows))[question].to(states.dtype)
            products = self.module.products(states, self.logs, moments, items)
            return Outputs(products, Shares(question, answers, alike), owner)
        few = Few.of(self.module, rows, answers, negatives)
        states = few.network(few.rows(rows), few.items.evidence)
        scores = self.sampled(few, states[question], answers, moments[question], negatives)
        return Outputs(scores, torch.zeros_like(answers), owner[question])


class Attentive(NextItemModel[Network]):
    """Scores from the attention on the latest `length` liked items."""

    name: ClassVar[str] = "attentive"
    rating_mode: ClassVar[str] = "attentive-ratings"
    Config: ClassVar[type[AttentiveConfig]] = AttentiveConfig

    def sized(self, n_items: int, reads: Sequence[int]) -> Network:
        return Network(self.config, n_items, reads)

    def task(self, network: Network, data: Dataset, run: Run) -> Task:
        return Task(self, network, data, run, least=2)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """Exact: the score is the item's base plus the weighted products of the events the attention reads."""
        reader = self.reader
        parts = np.zeros((len(items), len(query.history)))
        read = liked(query, self.config.length, reader.n_items)
        if len(read):
            with torch.inference_mode():
                rows = latest_first([query.history.items[read]], reader.n_items)
                weights, values = reader.attention(rows, self.evidence)
            shares = self.config.trust * (weights[0, :, None] * values[0]).numpy()
            parts[:, read[::-1]] = self.item_directions()[items] @ shares.T
        return Contributions(self.item_vectors()[items, -1], parts)


def latest_first(sequences: Sequence[IntVector], padding: int) -> Tensor:
    """(n, longest) rows of items, the latest first, so that an age is a column."""
    width = max([1, *map(len, sequences)])
    return torch.from_numpy(pad([sequence[::-1] for sequence in sequences], width, padding))
