"""Items whose words are those of what the user liked: content neighbours without a language model."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import InputError
from zhiyin.core.models import FitReport, Run
from zhiyin.core.terms import counted
from zhiyin.models.inputs import Sparse
from zhiyin.models.nearness import NearnessConfig, NearnessModel
from zhiyin.models.neighbours import norms


class TextNeighboursConfig(NearnessConfig):
    """smooth: 0 silences a term that every item has."""

    smooth: float = Field(default=1.0, ge=0)


class TextNeighbours(NearnessModel):
    """Nearness is the cosine of TF-IDF vectors.

    Terms of title, categories and description: words, and of Chinese single characters and pairs. A term weighs
    (1 + log tf) log(smooth + N / df), in N items of which df have it (after Manning, Raghavan and Schütze, 2008, 6.4),
    and vectors have unit length.
    """

    name: ClassVar[str] = "text-neighbours"
    Config: ClassVar[type[TextNeighboursConfig]] = TextNeighboursConfig
    arrays: ClassVar[frozenset[str]] = frozenset({"terms", "rarity", "indptr", "indices", "data"})
    config: TextNeighboursConfig

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Reads every item of the catalogue, with events or without. Raises `InputError` where none has any text."""
        vocabulary, counts = _counts(data.catalog)
        if not vocabulary:
            raise InputError(f"model {self.name!r} finds no text in the catalogue: add titles or leave the model out")
        share = np.bincount(counts.indices, minlength=len(vocabulary)) / counts.shape[0]
        rarity = np.log(self.config.smooth + 1.0 / share)
        self._take(vocabulary, rarity, _weighed(counts, rarity))
        return FitReport()

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> "TextNeighbours":
        """Words that no item had at training say nothing."""
        parameters = self.parameters()
        vocabulary, rarity = _unpacked(parameters["terms"]), parameters["rarity"]
        arrived = _weighed(_counts(catalog, vocabulary)[1], rarity)
        other = type(self)(self.config)
        other._take(vocabulary, rarity, sparse.vstack([self._rows, arrived], format="csr"))
        return other

    @property
    def n_items(self) -> int:
        return len(self.parameters()["indptr"]) - 1

    def near(self, sources: IntVector, targets: IntVector | None = None) -> FloatMatrix:
        across = self._terms if targets is None else self._rows[targets].T
        near: FloatMatrix = (self._rows[sources] @ across).toarray()
        return near

    def mean_near(self, sources: IntVector, shares: Sparse) -> FloatMatrix:
        mean: FloatMatrix = (shares @ self._rows[sources] @ self._terms).toarray()
        return mean

    def pairwise(self, sources: IntVector, targets: IntVector) -> FloatVector:
        return np.asarray(self._rows[sources].multiply(self._rows[targets]).sum(axis=1)).ravel()

    def sharing(self, sources: IntVector, common: int) -> Sparse:
        """(sources, n_items) the part of the nearness that is due to terms which at most `common` items have."""
        rare = sparse.diags_array((np.diff(self._terms.indptr) <= common).astype(np.float64))
        shared: Sparse = sparse.csr_matrix(self._rows[sources] @ rare @ self._terms)
        shared.eliminate_zeros()
        return shared

    def _take(self, vocabulary: Iterable[str], rarity: FloatVector, rows: Sparse) -> None:
        self.load_parameters(
            {
                "terms": np.frombuffer("\n".join(vocabulary).encode(), np.uint8),
                "rarity": rarity,
                "indptr": rows.indptr.astype(np.int64),
                "indices": rows.indices.astype(np.int64),
                "data": rows.data,
            }
        )

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        shape = (len(parameters["indptr"]) - 1, len(parameters["rarity"]))
        self._rows: Sparse = sparse.csr_matrix((parameters["data"], parameters["indices"], parameters["indptr"]), shape)
        self._terms: Sparse = self._rows.T.tocsr()


def _counts(catalog: Catalog, vocabulary: Mapping[str, int] | None = None) -> tuple[dict[str, int], Sparse]:
    """Columns of terms, and (items, terms) how often each item has each; of those in `vocabulary`, if there is one."""
    known, columns, starts = counted(catalog.texts(), singles=True, vocabulary=vocabulary)
    counts: Any = sparse.csr_matrix((np.ones(len(columns)), columns, starts), (len(catalog), len(known)))
    counts.sum_duplicates()
    return known, counts


def _weighed(counts: Sparse, rarity: FloatVector) -> Sparse:
    """Rows of unit length, or of zeros."""
    weighed = counts.copy()
    weighed.data = (1.0 + np.log(counts.data)) * rarity[counts.indices]
    lengths = np.repeat(norms(weighed), np.diff(weighed.indptr))
    weighed.data = np.divide(weighed.data, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return weighed


def _unpacked(packed: NDArray[np.uint8]) -> dict[str, int]:
    return {term: column for column, term in enumerate(packed.tobytes().decode().split("\n"))}
