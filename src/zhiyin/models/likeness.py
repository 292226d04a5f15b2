"""How near items are to each other by their words and by content vectors together."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Parameters, Run
from zhiyin.models.content import ContentConfig, ContentNeighbours
from zhiyin.models.nearness import NearnessModel
from zhiyin.models.stored import by_owner
from zhiyin.models.text_neighbours import TextNeighbours, TextNeighboursConfig

WORDS, CONTENT = "words", "content"


class Likeness:
    """near_ij = sum over tellers of their weight times nearness_ij; 0 of an item and itself.

    tellers: by what they read, `WORDS` or `CONTENT`; without any, nothing is near anything. weights: likewise.
    """

    def __init__(self, tellers: Mapping[str, NearnessModel], weights: Mapping[str, float]) -> None:
        self._tellers, self._weights = dict(tellers), weights

    @classmethod
    def found(cls, data: Dataset, run: Run, weights: Mapping[str, float], encoders: Sequence[str]) -> Self:
        """Of the items of `data`: words where it has some, content by `encoders` where there are some, each where it
        weighs anything. Raises `ConfigError` where the data set has no vectors of an encoder.
        """
        told = {WORDS: any(data.catalog.texts()), CONTENT: bool(encoders)}
        tellers = {name: _made(name, encoders) for name, there in told.items() if there and weights[name] > 0}
        for teller in tellers.values():
            teller.fit(data, run)
        return cls(tellers, weights)

    @classmethod
    def loaded(cls, parameters: Parameters, weights: Mapping[str, float], encoders: Sequence[str]) -> Self:
        """Raises `ArtifactError` where `parameters` are of something else."""
        named = by_owner(parameters)
        if strange := sorted(set(named) - {WORDS, CONTENT}):
            raise ArtifactError(f"parameters of {', '.join(strange)} say nothing of nearness: train again")
        tellers = {name: _made(name, encoders) for name in named}
        for name, teller in tellers.items():
            teller.load_parameters(named[name])
        return cls(tellers, weights)

    def parameters(self) -> Parameters:
        return {
            f"{name}.{key}": array
            for name, teller in self._tellers.items()
            for key, array in teller.parameters().items()
        }

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        """Raises `ConfigError` where `content` has no vectors of an encoder."""
        tellers = {name: teller.extended(catalog, content) for name, teller in self._tellers.items()}
        return type(self)(tellers, self._weights)

    @property
    def n_items(self) -> int:
        """0 without a teller."""
        return max((teller.n_items for teller in self._tellers.values()), default=0)

    def near(self, sources: IntVector, targets: IntVector) -> FloatMatrix:
        """(sources, targets) float64."""
        total = np.zeros((len(sources), len(targets)))
        for name, teller in self._tellers.items():
            total += self._weights[name] * teller.near(sources, targets)
        total[sources[:, None] == targets] = 0.0
        return total


def _made(name: str, encoders: Sequence[str]) -> NearnessModel:
    if name == CONTENT:
        return ContentNeighbours(ContentConfig(encoders=tuple(encoders)))
    return TextNeighbours(TextNeighboursConfig())
