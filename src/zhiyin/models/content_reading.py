"""What a network reads of items whose content an encoder has told."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix
from zhiyin.models.narrowing import Narrowing


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
        found = Narrowing.found(vectors, self.axes.shape[1])
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(found.mean))
            self.axes.copy_(torch.from_numpy(found.axes))
            self.narrowed.copy_(self.of(torch.from_numpy(np.asarray(vectors)).to(self.mean)))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (n_items, dim) and bases (n_items,) of the items of the data set."""
        return self.vector(self.narrowed), self.base(self.narrowed)[:, 0]

    def of(self, vectors: Tensor) -> Tensor:
        """(n, width) of the content `vectors` (n, read) of any items."""
        told = (vectors != 0).any(1, keepdim=True)
        return nn.functional.normalize((vectors - self.mean) @ self.axes, dim=1) * told
