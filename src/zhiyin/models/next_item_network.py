"""What the networks share that score what comes next: items as products, and the same network over other items."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from zhiyin.core.arrays import IntVector
from zhiyin.core.models import Products
from zhiyin.models.content_reading import ContentReading
from zhiyin.models.neural import ItemNetwork

CENTRE_STEP = 0.1


@dataclass(frozen=True)
class Items:
    """Items as what may come next. vectors (n, dim), base (n,), known (n,): 1 where an item goes by its id.

    evidence: (rows, dim) the same items, and the rows of the network behind them, as what a history holds.
    """

    vectors: Tensor
    base: Tensor
    known: Tensor
    evidence: Tensor


class NextItemNetwork(ItemNetwork, ABC):
    """score_i = (state - centre) . vector_i + base_i (+ log popularity_i of the moment, of an item known by its id).

    vector_i = id_i + R content_i, and base_i the item's own bias; of an item that is known by content alone, vector_i =
    R content_i and base_i = newcomer + r . content_i. The centre is the mean of the states asked about, of a batch in
    training and running otherwise, so that what everybody shares is left to the popularity.
    """

    by_item: ClassVar[frozenset[str]] = ItemNetwork.by_item | {"moment", "known", "content.narrowed"}

    looked_up: ClassVar[frozenset[str]] = frozenset()
    """Those of them that reading a history needs beside the evidence."""

    def __init__(self, n_items: int, config: Any, reads: Sequence[int], gain: float = 1.0) -> None:
        super().__init__(n_items)
        self.id_dropout = config.id_dropout
        self.centre = nn.Buffer(torch.zeros(config.dim))
        self.moment = nn.Buffer(torch.zeros(n_items))
        self.known = nn.Buffer(torch.ones(n_items))
        self.content: ContentReading | None = None
        if reads:
            self.content = ContentReading(
                n_items, reads, config.content_dim, config.dim, gain=gain, dropout=config.modality_dropout
            )

    @property
    @abstractmethod
    def ids(self) -> Tensor:
        """(n_items, dim) vectors that items have of their own."""

    @abstractmethod
    def evidence(self, vectors: Tensor, shares: Tensor | None) -> Tensor:
        """(rows, dim) what the rows of a history say, where the items are `vectors` (n_items, dim) and read by `shares`
        (n_items, modalities), if they are read at all.
        """

    @abstractmethod
    def read(self, sequences: Sequence[IntVector], evidence: Tensor) -> Tensor:
        """(n, dim) states after histories of items, oldest first."""

    def items(self) -> Items:
        """In training, a share of the known items drawn at random goes by content alone."""
        known: Tensor = self.known
        if self.content is None:
            return Items(self.ids, self.item_bias, known, self.evidence(self.ids, None))
        if self.training:
            known = known * (torch.rand_like(known) >= self.id_dropout)
        shares = self.content.shares()
        told, base = self.content(shares)
        vectors = known[:, None] * self.ids + told
        return Items(vectors, known * self.item_bias + (1 - known) * base, known, self.evidence(vectors, shares))

    def products(self, states: Tensor, logs: Tensor, moments: Tensor, items: Items) -> Products:
        """Scores of all items by states (n, dim), each at a moment (n,), when log popularity is `logs[moment]`."""
        offsets = logs if self.content is None else items.known * logs
        return Products(self.centred(states), items.vectors, items.base, offsets, moments)

    def sampled(self, states: Tensor, answers: Tensor, others: Tensor, logs: Tensor, items: Items) -> Tensor:
        """(n, 1 + k) scores by each state of its own item of `answers` (n,) and of all the items `others` (k,).

        logs: (n, 1 + k) their log popularity.
        """
        centred = self.centred(states)
        known = torch.cat([items.known[answers][:, None], items.known[others].expand(len(answers), -1)], 1)
        own = (centred * items.vectors[answers]).sum(1) + items.base[answers]
        among = torch.addmm(items.base[others], centred, items.vectors[others].T)
        return torch.cat([own[:, None], among], 1) + known * logs

    def centred(self, states: Tensor) -> Tensor:
        if not self.training or not len(states):
            return states - self.centre
        mean = states.mean(0)
        self.centre.lerp_(mean.detach(), CENTRE_STEP)
        return states - mean


L = TypeVar("L", bound=NextItemNetwork)


@dataclass(frozen=True)
class Few(Generic[L]):
    """A network over some of its items: `items`, and which those are, (n,) `chosen` in order.

    What is learned of it is learned of the network itself, by gradients that are sparse in all tables of items.
    """

    network: L
    items: Items
    chosen: Tensor

    @classmethod
    def of(cls, network: L, *met: Tensor) -> Self:
        """Of all items that are among the rows `met`."""
        chosen = torch.unique(torch.cat([rows.flatten() for rows in met]))
        chosen = chosen[chosen < network.n_items]
        tables: dict[str, Tensor] = {}
        for name, table in (*network.named_parameters(), *network.named_buffers()):
            if name in network.by_item:
                beyond = torch.arange(network.n_items, len(table), device=chosen.device)
                tables[name] = _looked_up(table, torch.cat([chosen, beyond]))
        part = over(network, len(chosen), tables)
        return cls(part, part.items(), chosen)

    def rows(self, met: Tensor) -> Tensor:
        """Where rows of the whole network are in this one; the first row beyond its items stays that."""
        return torch.searchsorted(self.chosen, met)


def over(network: L, n_items: int, tables: Mapping[str, Tensor]) -> L:
    """`network` over other items, with `tables` in the place of its own and all else shared."""
    tensors = (*network.named_parameters(), *network.named_buffers())
    other = deepcopy(network, {id(own): tables.get(name, own) for name, own in tensors})
    other.n_items = n_items
    return other


def _looked_up(table: Tensor, rows: Tensor) -> Tensor:
    if table.dim() == 1:
        return torch.gather(table, 0, rows, sparse_grad=True)
    return F.embedding(rows, table, sparse=True)
