"""Items whose words are those of what the user liked: content neighbours without a language model."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import InputError
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.core.terms import counted
from zhiyin.models.inputs import Sparse, recent_shares
from zhiyin.models.neighbours import norms
from zhiyin.models.stored import ModelConfig, StoredModel


class TextNeighbours(StoredModel):
    """Cosine between an item's TF-IDF vector and those of the user's recent likes, their mean.

    Terms of title, categories and description: words, and of Chinese single characters and pairs. A term weighs
    (1 + log tf) log(smooth + N / df), in N items of which df have it (after Manning, Raghavan and Schütze, 2008, 6.4),
    and vectors have unit length.
    """

    class Config(ModelConfig):
        """last: latest events that count. smooth: 0 silences a term that every item has. half_life_days: fading of
        events relative to the latest one.
        """

        smooth: float = Field(default=1.0, ge=0)
        last: int = Field(default=50, ge=1)
        half_life_days: float | None = Field(default=None, gt=0)

    name: ClassVar[str] = "text-neighbours"
    arrays: ClassVar[frozenset[str]] = frozenset({"indptr", "indices", "data", "shape"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"last": 50},
        {"last": 500},
        {"last": 50, "smooth": 0.0},
        {"last": 500, "smooth": 0.0},
    )
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Reads every item of the catalogue, with events or without. Raises `InputError` where none has any text."""
        counts = term_counts(data.catalog.texts())
        if not counts.nnz:
            raise InputError(f"model {self.name!r} finds no text in the catalogue: add titles or leave the model out")
        share = np.bincount(counts.indices, minlength=counts.shape[1]) / counts.shape[0]
        weighed = counts.copy()
        weighed.data = (1.0 + np.log(counts.data)) * np.log(self.config.smooth + 1.0 / share)[counts.indices]
        lengths = np.repeat(norms(weighed), np.diff(weighed.indptr))
        weighed.data = np.divide(weighed.data, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        self.load_parameters(
            {
                "indptr": weighed.indptr.astype(np.int64),
                "indices": weighed.indices.astype(np.int64),
                "data": weighed.data,
                "shape": np.array(weighed.shape, np.int64),
            }
        )
        return FitReport()

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        shape = tuple(parameters["shape"].tolist())
        self._rows: Sparse = sparse.csr_matrix((parameters["data"], parameters["indices"], parameters["indptr"]), shape)
        self._terms: Sparse = self._rows.T.tocsr()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        n_items = int(self.parameters()["shape"][0])
        parts = [
            recent_shares(query.history, n_items, self.config.last, self.config.half_life_days) for query in queries
        ]
        indptr = np.cumsum([0, *(len(items) for items, _ in parts)])
        items = np.concatenate([np.zeros(0, np.int64), *(items for items, _ in parts)])
        shares = np.concatenate([np.zeros(0), *(shares for _, shares in parts)])
        likes = sparse.csr_matrix((shares, items, indptr), (len(parts), n_items))
        return gather((likes @ self._rows @ self._terms).toarray(), candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's share in the mean times the cosine of its item with the target."""
        n_items = int(self.parameters()["shape"][0])
        sources, shares = recent_shares(query.history, n_items, self.config.last, self.config.half_life_days)
        cosines = (self._rows[items] @ self._rows[sources].T).toarray()
        return Contributions(np.zeros(len(items)), cosines * shares)


def term_counts(documents: Sequence[str | None]) -> Sparse:
    """(documents, terms) how often each term occurs; terms in the order of first mention."""
    vocabulary, columns, starts = counted(documents, singles=True)
    counts: Any = sparse.csr_matrix((np.ones(len(columns)), columns, starts), (len(documents), len(vocabulary)))
    counts.sum_duplicates()
    return counts
