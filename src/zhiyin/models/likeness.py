"""How near items are to each other by their words and by content vectors together."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Self, cast

import numpy as np
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Parameters, Run
from zhiyin.models.content import ContentConfig, ContentNeighbours
from zhiyin.models.inputs import Sparse
from zhiyin.models.nearness import NearnessModel
from zhiyin.models.stored import by_owner
from zhiyin.models.strongest import strongest
from zhiyin.models.text_neighbours import TextNeighbours, TextNeighboursConfig

WORDS, CONTENT = "words", "content"

ALL_COMPARED = 25_000
"""Items up to which the nearest ones are looked for among all others."""

RARE = 1_000
"""In a larger catalogue, items that have a word at most, if it is to bring them together."""

LOOKED_AT = 4
"""Items that are looked at there for each that is taken, those that share the most."""

BLOCK, PAIRS = 1_024, 1 << 15
"""Items whose nearness to all others is held at a time, and pairs of items whose vectors are."""


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

    def nearest(self, k: int, together: Sparse) -> Sparse:
        """(n_items, n_items) float32: in each row the nearness of an item to the `k` others that are nearest to it.

        In a catalogue of more than `ALL_COMPARED` items they are looked for among those that share a rare word with it
        and those that have a cell in its row of `together` (n_items, n_items).
        """
        if not self._tellers:
            return sparse.csr_matrix(together.shape, dtype=np.float32)
        if self.n_items <= ALL_COMPARED:
            return sparse.vstack([_largest(table, k) for _, table in self.tables()], format="csr")
        found = (self._near_some(block, together[block], LOOKED_AT * k) for block in self._blocks())
        kept = [strongest(near, near.data, np.full(near.shape[0], k)) for near in found]
        return sparse.vstack(kept, format="csr")

    def tables(self) -> Iterator[tuple[IntVector, FloatMatrix]]:
        """Some items (k,) at a time, and their nearness (k, n_items) to all; nothing without a teller."""
        for block in self._blocks():
            yield block, self.near(block, np.arange(self.n_items))

    def _blocks(self) -> list[IntVector]:
        everything = np.arange(self.n_items)
        return [everything[start : start + BLOCK] for start in range(0, self.n_items, BLOCK)]

    def _near_some(self, sources: IntVector, together: Sparse, most: int) -> Sparse:
        """(sources, n_items) nearness to at most `most` items that share rare words, and `most` of those `together`."""
        found = [strongest(together, together.data, np.full(len(sources), most))]
        if WORDS in self._tellers:
            shared = cast(TextNeighbours, self._tellers[WORDS]).sharing(sources, RARE)
            found.append(strongest(shared, shared.data, np.full(len(sources), most)))
        pairs = reduce(operator.add, found).tocoo()
        near = np.zeros(pairs.nnz, np.float32)
        for start in range(0, pairs.nnz, PAIRS):
            some = slice(start, start + PAIRS)
            near[some] = self._pairwise(sources[pairs.row[some]], pairs.col[some])
        return sparse.csr_matrix((near, (pairs.row, pairs.col)), pairs.shape)

    def _pairwise(self, sources: IntVector, targets: IntVector) -> FloatVector:
        """(n,) of each of the `sources` (n,) and the one of the `targets` (n,) at its place."""
        total = np.zeros(len(sources))
        for name, teller in self._tellers.items():
            total += self._weights[name] * teller.pairwise(sources, targets)
        total[sources == targets] = 0.0
        return total


def _largest(table: FloatMatrix, k: int) -> Sparse:
    """The `k` largest numbers of each row."""
    k = min(k, table.shape[1])
    columns = np.argpartition(-table, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(table, columns, 1).astype(np.float32)
    largest: Sparse = sparse.csr_matrix((values.ravel(), columns.ravel(), np.arange(len(table) + 1) * k), table.shape)
    largest.eliminate_zeros()
    largest.sort_indices()
    return largest


def _made(name: str, encoders: Sequence[str]) -> NearnessModel:
    if name == CONTENT:
        return ContentNeighbours(ContentConfig(encoders=tuple(encoders)))
    return TextNeighbours(TextNeighboursConfig())
