"""Sounds by how much of which pitch is in them, without a model: the baseline that every model has to beat."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.media import SECONDS, sound
from zhiyin.encoders.mel import LOUDEST, audible, log_mel
from zhiyin.encoders.pieces import Pieces, unit_vectors
from zhiyin.encoders.weights import installed

RATE, FRAME, HOP, BANDS = 16_000, 512, 256, 64


class MelStatistics:
    """128-dimensional vectors: mean and deviation over time in 64 bands of the mel scale.

    Of a video its soundtrack; of what is longer than `SECONDS` the beginning.
    """

    name: ClassVar[str] = "mel-statistics"
    modalities = frozenset({"audio"})
    dim = 2 * BANDS
    fingerprint = f"mel-statistics/1/{SECONDS}/{LOUDEST}"

    def __init__(self) -> None:
        """Raises `ConfigError` where the extra `audio` is not installed."""
        if not installed("av"):
            raise ConfigError(f"encoder {self.name!r} needs the extra `audio`: pip install 'zhiyin[audio]'")

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        places = [content.audio for content in contents]
        return unit_vectors(self.name, places, _statistics, lambda pieces: pieces, lambda: self.dim)


def _statistics(place: str) -> Pieces:
    """(1, 2 * BANDS), or none of silence."""
    samples = audible(sound(place, RATE))
    if not len(samples):
        return np.zeros((0, 2 * BANDS), np.float32)
    energy = log_mel(samples, RATE, FRAME, HOP, BANDS)
    return np.concatenate([energy.mean(0), energy.std(0)])[None]
