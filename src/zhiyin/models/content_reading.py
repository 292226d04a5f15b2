"""What a network reads of items whose content encoders have told: one vector of several modalities.

With x_m the vector of an item by the encoder m, narrowed, over the encoders that find something in it:

    share_m = exp(g_m . x_m + c_m) / sum over those encoders of exp(g . x + c)
    sum     = sum of share_m P_m x_m
    fused   = sum * (sum of share_m |P_m x_m|) / |sum|

What an item lacks has no share and is never stood in for. In training a modality is left out of an item at random, so
that any others will do (after modality dropout, Neverova et al., 2016). A mean is the shorter the less its parts agree:
it is brought to their length, so that items with more modalities and with fewer are of one scale.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix
from zhiyin.models.narrowing import Narrowing

TRIFLE = 1e-12


class Fusion(nn.Module):
    """Projections P_m. gain: what the vectors are multiplied by before anything is learned, when products of fused
    vectors are the mean nearness of contents, each modality in directions of its own.
    """

    def __init__(self, modalities: int, width: int, dim: int, gain: float) -> None:
        super().__init__()
        weight = torch.zeros(modalities, dim, width)
        own = max(1, dim // max(1, modalities))
        for place in range(modalities):
            rows = torch.arange(min(own, width, dim))
            weight[place, (place * own + rows) % dim, rows] = gain
        self.weight = nn.Parameter(weight)

    def forward(self, blocks: Tensor, shares: Tensor) -> Tensor:
        """(n, dim) of blocks (n, modalities, width) and shares (n, modalities)."""
        parts = torch.stack([blocks[:, place] @ projection.T for place, projection in enumerate(self.weight)], dim=1)
        total = (shares[:, :, None] * parts).sum(1)
        return total * ((shares * _lengths(parts)).sum(1) / _lengths(total))[:, None]


def _lengths(vectors: Tensor) -> Tensor:
    """Of the last dimension; the root of nothing has no slope, so a trifle is added."""
    return (vectors.square().sum(-1) + TRIFLE).sqrt()


class ContentReading(nn.Module):
    """Content vectors, narrowed encoder by encoder, read as a vector and a base of the item.

    reads: numbers of each encoder's vectors. dropout: share of the modalities that are left out in training.
    """

    def __init__(
        self, n_items: int, reads: Sequence[int], width: int, dim: int, *, gain: float, dropout: float
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.reads = nn.Buffer(torch.tensor(list(reads)))
        self.mean = nn.Buffer(torch.zeros(sum(reads)))
        self.axes = nn.Buffer(torch.zeros(sum(reads), width))
        self.narrowed = nn.Buffer(torch.zeros(n_items, len(reads) * width))
        self.gate = nn.Parameter(torch.zeros(len(reads), width))
        self.gate_bias = nn.Parameter(torch.zeros(len(reads)))
        self.vector = Fusion(len(reads), width, dim, gain)
        self.base = nn.Parameter(torch.zeros(len(reads), width))
        # What is known of no item is that it is one among many.
        self.newcomer = nn.Parameter(torch.tensor(-math.log(max(1, n_items))))

    @property
    def modalities(self) -> int:
        return len(self.reads)

    @property
    def blocks(self) -> Tensor:
        """(n_items, modalities, width)."""
        return self.narrowed.view(len(self.narrowed), self.modalities, self.width)

    def narrow(self, vectors: Sequence[FloatMatrix]) -> None:
        """Finds the directions in the vectors (n_items, read) of each encoder, and takes the items over."""
        found = Narrowing.found(vectors, self.width)
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(found.mean))
            self.axes.copy_(torch.from_numpy(found.axes))
        self.take(vectors)

    def take(self, vectors: Sequence[FloatMatrix]) -> None:
        """Takes the items over in the directions that were found before."""
        with torch.no_grad():
            self.narrowed.copy_(self.of(vectors))

    def of(self, vectors: Sequence[FloatMatrix]) -> Tensor:
        """(n, modalities * width) of what each encoder says of any items, (n, read) each."""
        reads = tuple(int(read) for read in self.reads)
        narrowing = Narrowing(reads, self.mean.double().cpu().numpy(), self.axes.double().cpu().numpy())
        return torch.from_numpy(narrowing.of(vectors))

    def shares(self) -> Tensor:
        """(n_items, modalities) of each modality in an item; they add up to 1, or to 0 where there is none."""
        blocks = self.blocks
        present = (blocks != 0).any(2)
        if self.training and self.modalities > 1:
            kept = present & (torch.rand(present.shape, device=present.device) >= self.dropout)
            present = torch.where(kept.any(1, keepdim=True), kept, present)
        logits = ((blocks * self.gate).sum(2) + self.gate_bias).masked_fill(~present, -1e9)
        return torch.softmax(logits, dim=1) * present

    def forward(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (n_items, dim) and bases (n_items,)."""
        blocks = self.blocks
        bases = ((blocks * self.base).sum(2) * shares).sum(1) + self.newcomer
        return self.vector(blocks, shares), bases
