"""Content vectors in the directions that tell items apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.errors import ConfigError

WHITENING = 0.25
"""Exponent of a direction's variance by which it is divided: 0 leaves it as it is, 0.5 makes all alike."""

WIDTH_LIMIT = 1e-6
"""Directions narrower than this share of the widest say nothing."""


def vectors_of(content: Mapping[str, FloatMatrix], encoders: Sequence[str], model: str) -> FloatMatrix:
    """(n, d) vectors of the `encoders` side by side. Raises `ConfigError` where there are none of one."""
    for encoder in encoders:
        if encoder not in content:
            raise ConfigError(
                f"model {model!r} finds no vectors of encoder {encoder!r} in the data set, which has "
                f"{sorted(content)}: prepare it with that encoder or leave the model out"
            )
    return np.concatenate([np.asarray(content[encoder]) for encoder in encoders], axis=1)


@dataclass(frozen=True, eq=False)
class Narrowing:
    """unit((vectors - mean) axes), zeros for an item without content. mean: (read,). axes: (read, width)."""

    mean: FloatVector
    axes: FloatMatrix

    @classmethod
    def found(cls, vectors: FloatMatrix, width: int) -> Self:
        """The `width` widest directions of `vectors` (n, read), evened out; fewer leave columns of zeros."""
        told = np.asarray(vectors, np.float64)[np.abs(vectors).sum(axis=1) > 0]
        axes = np.zeros((vectors.shape[1], width))
        if len(told) < 2:
            return cls(np.zeros(vectors.shape[1]), axes)
        spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(told.T)))
        widest = np.argsort(-spread)[: min(width, len(told) - 1)]
        widest = widest[spread[widest] > WIDTH_LIMIT * spread.max()]
        axes[:, : len(widest)] = directions[:, widest] * spread[widest] ** -WHITENING
        return cls(told.mean(axis=0), axes)

    def of(self, vectors: FloatMatrix) -> FloatMatrix:
        """(n, width) float64 of `vectors` (n, read)."""
        told = np.abs(vectors).sum(axis=1, keepdims=True) > 0
        narrowed = (np.asarray(vectors, np.float64) - self.mean) @ self.axes * told
        lengths = np.linalg.norm(narrowed, axis=1, keepdims=True)
        unit: FloatMatrix = np.divide(narrowed, lengths, out=np.zeros_like(narrowed), where=lengths > 1e-9)
        return unit
