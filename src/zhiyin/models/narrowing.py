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


def vectors_of(content: Mapping[str, FloatMatrix], encoders: Sequence[str], model: str) -> list[FloatMatrix]:
    """(n, d) vectors of each of the `encoders`. Raises `ConfigError` where there are none of one."""
    for encoder in encoders:
        if encoder not in content:
            raise ConfigError(
                f"model {model!r} finds no vectors of encoder {encoder!r} in the data set, which has "
                f"{sorted(content)}: prepare it with that encoder or leave the model out"
            )
    return [np.asarray(content[encoder]) for encoder in encoders]


@dataclass(frozen=True, eq=False)
class Narrowing:
    """For each encoder unit((vectors - mean) axes), zeros for an item in which it finds nothing, side by side.

    reads: numbers of each encoder's vectors. mean: (all of them,). axes: (all of them, width).
    """

    reads: tuple[int, ...]
    mean: FloatVector
    axes: FloatMatrix

    @classmethod
    def found(cls, vectors: Sequence[FloatMatrix], width: int) -> Self:
        """The `width` widest directions of each encoder's vectors (n, read), evened; fewer leave columns of zeros."""
        means, axes = zip(*(_widest(each, width) for each in vectors), strict=True)
        return cls(tuple(each.shape[1] for each in vectors), np.concatenate(means), np.concatenate(axes))

    @property
    def width(self) -> int:
        return int(self.axes.shape[1])

    def of(self, vectors: Sequence[FloatMatrix]) -> FloatMatrix:
        """(n, encoders * width) float64 of the vectors (n, read) of each encoder."""
        cuts = np.cumsum(self.reads)[:-1]
        parts = zip(vectors, np.split(self.mean, cuts), np.split(self.axes, cuts), strict=True)
        return np.concatenate([_narrowed(each, mean, axes) for each, mean, axes in parts], axis=1)


def _widest(vectors: FloatMatrix, width: int) -> tuple[FloatVector, FloatMatrix]:
    told = np.asarray(vectors, np.float64)[np.abs(vectors).sum(axis=1) > 0]
    axes = np.zeros((vectors.shape[1], width))
    if len(told) < 2:
        return np.zeros(vectors.shape[1]), axes
    spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(told.T)))
    widest = np.argsort(-spread)[: min(width, len(told) - 1)]
    widest = widest[spread[widest] > WIDTH_LIMIT * spread.max()]
    axes[:, : len(widest)] = directions[:, widest] * spread[widest] ** -WHITENING
    return told.mean(axis=0), axes


def _narrowed(vectors: FloatMatrix, mean: FloatVector, axes: FloatMatrix) -> FloatMatrix:
    told = np.abs(vectors).sum(axis=1, keepdims=True) > 0
    narrowed = (np.asarray(vectors, np.float64) - mean) @ axes * told
    lengths = np.linalg.norm(narrowed, axis=1, keepdims=True)
    unit: FloatMatrix = np.divide(narrowed, lengths, out=np.zeros_like(narrowed), where=lengths > 1e-9)
    return unit
