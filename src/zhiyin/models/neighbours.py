"""Nearest neighbours among items and among users, over sparse interactions."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, Choice, FitReport, Parameters, Range, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse, evidence, query_rows, training_rows
from zhiyin.models.stored import ModelConfig, StoredModel

Weighting = Literal["cosine", "tf-idf", "bm25"]

K1 = 1.2
B = 0.75

ROWS_AT_ONCE = 512


def rarity(documents: Sparse) -> FloatVector:
    """(terms,) log(1 + N / df): what a term says by being rare; zero for terms that occur nowhere."""
    frequency = np.bincount(documents.indices, minlength=documents.shape[1])
    return np.where(frequency > 0, np.log1p(documents.shape[0] / np.maximum(frequency, 1)), 0.0)


def weigh(documents: Sparse, weighting: Weighting, idf: FloatVector, mean_length: float) -> Sparse:
    """Rows as documents, columns as terms; BM25 after Robertson and Zaragoza (2009) with k1 = 1.2, b = 0.75."""
    result = documents.astype(np.float64).copy()
    if weighting == "bm25":
        lengths = np.asarray(documents.sum(axis=1)).ravel()
        norm = K1 * (1.0 - B + B * lengths / max(mean_length, 1e-12))
        spread = np.repeat(norm, np.diff(result.indptr))
        result.data = result.data * (K1 + 1.0) / (result.data + spread)
    if weighting != "cosine":
        result.data = result.data * idf[result.indices]
    return result


def norms(rows: Sparse) -> FloatVector:
    squares: FloatVector = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    return np.sqrt(squares)


def nearest(similarities: Sparse, left: FloatVector, right: FloatVector, shrinkage: float, k: int) -> Sparse:
    """The `k` largest entries of each row of dot / (|left| |right| + shrinkage), as a sparse matrix."""
    indptr, indices, data = [0], [], []
    for row in range(similarities.shape[0]):
        span = slice(similarities.indptr[row], similarities.indptr[row + 1])
        columns = similarities.indices[span]
        values = similarities.data[span] / (left[row] * right[columns] + shrinkage)
        if len(values) > k:
            kept = np.argpartition(values, -k)[-k:]
            columns, values = columns[kept], values[kept]
        order = np.argsort(columns)
        indices.append(columns[order])
        data.append(values[order])
        indptr.append(indptr[-1] + len(columns))
    flat_indices = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    flat_data = np.concatenate(data) if data else np.zeros(0)
    return sparse.csr_matrix((flat_data, flat_indices.astype(np.int64), np.array(indptr)), similarities.shape)


SPACE: Mapping[str, Range | Choice] = {
    "weighting": Choice(("cosine", "tf-idf", "bm25")),
    "k": Range(20, 500, log=True),
    "shrinkage": Range(0.0, 50.0),
    "half_life_days": Choice((None, 1.0, 3.0, 7.0, 30.0, 180.0)),
}


class NeighbourConfig(ModelConfig):
    """weighting: how interactions are weighed before the cosine. k: neighbours kept. shrinkage: added to the
    denominator, so that a likeness that rests on little counts little. binary: every liked item counts 1.

    half_life_days: fading of a query's events relative to its latest one.
    """

    weighting: Weighting = "cosine"
    k: int = Field(default=100, ge=1)
    shrinkage: float = Field(default=0.0, ge=0)
    binary: bool = True
    half_life_days: float | None = Field(default=None, gt=0)


class ItemNeighbours(StoredModel):
    """Item-based top-N (Deshpande and Karypis, 2004): a liked item speaks for its `k` nearest items."""

    class Config(NeighbourConfig):
        """As `NeighbourConfig`."""

    name: ClassVar[str] = "item-neighbours"
    arrays: ClassVar[frozenset[str]] = frozenset({"indptr", "indices", "data"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"weighting": "cosine"},
        {"weighting": "cosine", "shrinkage": 10.0},
        {"weighting": "tf-idf"},
        {"weighting": "bm25", "k": 200},
    )
    space = SPACE
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        items = training_rows(data, binary=self.config.binary).T.tocsr()
        mean_length = float(items.sum() / max(1, items.shape[0]))
        items = weigh(items, self.config.weighting, rarity(items), mean_length)
        lengths = norms(items)
        users = items.T.tocsr()
        blocks = []
        for start in range(0, items.shape[0], ROWS_AT_ONCE):
            block = (items[start : start + ROWS_AT_ONCE] @ users).tocoo()
            other = block.row + start != block.col
            kept = sparse.coo_matrix((block.data[other], (block.row[other], block.col[other])), block.shape).tocsr()
            own = lengths[start : start + ROWS_AT_ONCE]
            blocks.append(nearest(kept, own, lengths, self.config.shrinkage, self.config.k))
        similar: Any = sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((0, 0))
        self.load_parameters(
            {
                "indptr": similar.indptr.astype(np.int64),
                "indices": similar.indices.astype(np.int64),
                "data": similar.data.astype(np.float64),
            }
        )
        return FitReport()

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        n_items = len(parameters["indptr"]) - 1
        self._similar: Sparse = sparse.csr_matrix(
            (parameters["data"], parameters["indices"], parameters["indptr"]), (n_items, n_items)
        )

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        n_items = len(self.parameters()["indptr"]) - 1
        rows = query_rows(queries, n_items, binary=self.config.binary, half_life_days=self.config.half_life_days)
        return gather((rows @ self._similar).toarray(), candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's evidence times the likeness of its item to the target."""
        n_items = len(self.parameters()["indptr"]) - 1
        sources, values = evidence(
            query.history, n_items, binary=self.config.binary, half_life_days=self.config.half_life_days
        )
        parts = self._similar[sources][:, items].toarray().T * values
        return Contributions(np.zeros(len(items)), parts)


class UserNeighbours(StoredModel):
    """User-based top-N: the `k` people most like the query's history vote with what they liked."""

    class Config(NeighbourConfig):
        """As `NeighbourConfig`."""

    name: ClassVar[str] = "user-neighbours"
    arrays: ClassVar[frozenset[str]] = frozenset({"indptr", "indices", "data", "shape"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"weighting": "cosine", "k": 100},
        {"weighting": "tf-idf", "k": 100},
        {"weighting": "bm25", "k": 200},
        {"weighting": "cosine", "k": 100, "half_life_days": 30.0},
    )
    space = SPACE
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        rows = training_rows(data, binary=self.config.binary)
        self.load_parameters(
            {
                "indptr": rows.indptr.astype(np.int64),
                "indices": rows.indices.astype(np.int64),
                "data": rows.data,
                "shape": np.array(rows.shape, np.int64),
            }
        )
        return FitReport()

    def _prepare(self, parameters: Parameters) -> None:
        n_users, n_items = (int(n) for n in parameters["shape"])
        self._votes: Sparse = sparse.csr_matrix(
            (parameters["data"], parameters["indices"], parameters["indptr"]), (n_users, n_items)
        )
        self._idf = rarity(self._votes)
        self._mean_length = float(self._votes.sum() / max(1, n_users))
        people = weigh(self._votes, self.config.weighting, self._idf, self._mean_length)
        self._lengths = norms(people)
        self._people: Sparse = people.T.tocsr()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        n_items = int(self.parameters()["shape"][1])
        scores = np.zeros((len(queries), n_items))
        for start in range(0, len(queries), ROWS_AT_ONCE):
            rows = query_rows(
                queries[start : start + ROWS_AT_ONCE],
                n_items,
                binary=self.config.binary,
                half_life_days=self.config.half_life_days,
            )
            rows = weigh(rows, self.config.weighting, self._idf, self._mean_length)
            similar = nearest(
                (rows @ self._people).tocsr(), norms(rows), self._lengths, self.config.shrinkage, self.config.k
            )
            scores[start : start + ROWS_AT_ONCE] = (similar @ self._votes).toarray()
        return gather(scores, candidates)
