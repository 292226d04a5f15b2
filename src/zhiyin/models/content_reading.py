"""What a network reads of items whose content an encoder has told."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError


def vectors_of(content: Mapping[str, FloatMatrix], encoders: Sequence[str], model: str) -> FloatMatrix:
    """(n, d) vectors of the `encoders` side by side. Raises `ConfigError` where there are none of one."""
    for encoder in encoders:
        if encoder not in content:
            raise ConfigError(
                f"model {model!r} finds no vectors of encoder {encoder!r} in the data set, which has "
                f"{sorted(content)}: prepare it with that encoder or leave the model out"
            )
    return np.concatenate([np.asarray(content[encoder]) for encoder in encoders], axis=1)


WHITENING = 0.25
"""Exponent of a direction's variance by which it is divided: 0 leaves it as it is, 0.5 makes all alike."""

WIDTH_LIMIT = 1e-6
"""Directions narrower than this share of the widest say nothing."""


class ContentReading(nn.Module):
    """Content vectors narrowed to their `width` widest directions, then read as a vector and a base of the item.

    narrowed = unit((content - mean) axes), zeros for an item without content. gain: what the vectors are multiplied by
    before anything is learned, when their products are the nearness of contents.
    """

    def __init__(self, n_items: int, read: int, width: int, dim: int, gain: float) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(read))
        self.axes = nn.Buffer(torch.zeros(read, width))
        self.narrowed = nn.Buffer(torch.zeros(n_items, width))
        self.vector = nn.Linear(width, dim, bias=False)
        self.base = nn.Linear(width, 1)
        nn.init.eye_(self.vector.weight)
        with torch.no_grad():
            self.vector.weight.mul_(gain)
            self.base.weight.zero_()
            # What is known of no item is that it is one among many.
            self.base.bias.fill_(-math.log(max(1, n_items)))

    def narrow(self, vectors: FloatMatrix) -> None:
        """Finds the directions in `vectors` (n_items, read), evens them out, and takes the items over."""
        told = np.asarray(vectors, np.float64)[np.abs(vectors).sum(axis=1) > 0]
        axes = np.zeros(tuple(self.axes.shape))
        mean = np.zeros(len(self.mean))
        if len(told) > 1:
            mean = told.mean(axis=0)
            spread, directions = np.linalg.eigh(np.cov(told.T))
            widest = np.argsort(-spread)[: min(axes.shape[1], len(told) - 1)]
            widest = widest[spread[widest] > WIDTH_LIMIT * spread.max()]
            axes[:, : len(widest)] = directions[:, widest] * spread[widest] ** -WHITENING
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(mean))
            self.axes.copy_(torch.from_numpy(axes))
            self.narrowed.copy_(self._narrowed(torch.from_numpy(np.asarray(vectors)).to(self.mean)))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (n_items, dim) and bases (n_items,) of the items of the data set."""
        return self.vector(self.narrowed), self.base(self.narrowed)[:, 0]

    def of(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the content `vectors` (n, read) of any items."""
        narrowed = self._narrowed(vectors)
        return self.vector(narrowed), self.base(narrowed)[:, 0]

    def _narrowed(self, vectors: Tensor) -> Tensor:
        told = (vectors != 0).any(1, keepdim=True)
        return nn.functional.normalize((vectors - self.mean) @ self.axes, dim=1) * told
