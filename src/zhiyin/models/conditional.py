"""What is popular with those who liked what the user likes, as far as their number says it.

With p_j the popularity of an item, P_j the share of the users who like it, c_i the users who like i, and c_ij both:

    lift_ij = (c_ij + prior P_j) / ((c_i + prior) P_j)         1 where liking i says nothing of j
    score_j = log p_j + sum over the n liked items i of log lift_ij / (1 + n)

Each liked item is one voice and popularity another, and all are pooled alike (a logarithmic opinion pool), so that one
event moves a list by as much as it tells and many do not outshout each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.inputs import Sparse, evidence, faded_likes, query_rows, training_rows
from zhiyin.models.stored import ModelConfig, StoredModel

ROWS_AT_ONCE = 512


class ConditionalPopularity(StoredModel):
    """Needs no long history: it is for users of whom little is known."""

    class Config(ModelConfig):
        """prior: users whose word popularity has against that of those who liked an item. k: items an item speaks for,
        those that most users like with it. half_life_days: at which popularity fades; None counts all alike.
        """

        prior: float = Field(default=1000.0, gt=0)
        k: int = Field(default=200, ge=1)
        half_life_days: float | None = Field(default=30.0, gt=0)

    name: ClassVar[str] = "conditional-popularity"
    arrays: ClassVar[frozenset[str]] = frozenset({"base", "indptr", "indices", "data"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"prior": 100.0},
        {"prior": 300.0},
        {"prior": 1000.0},
        {"prior": 3000.0},
    )
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        n_items = len(data.items)
        users = training_rows(data)
        liked, prior = np.asarray(users.sum(axis=0)).ravel(), self.config.prior
        shares = liked / max(1, users.shape[0])
        items = users.T.tocsr()
        blocks = [sparse.csr_matrix((0, n_items))]
        for start in range(0, n_items, ROWS_AT_ONCE):
            block = _most(items[start : start + ROWS_AT_ONCE] @ users, start, self.config.k)
            own, other = np.repeat(liked[start : start + ROWS_AT_ONCE], np.diff(block.indptr)), shares[block.indices]
            block.data = np.log((block.data + prior * other) / ((own + prior) * other))
            blocks.append(block)
        lifts: Any = sparse.vstack(blocks, format="csr")
        self.load_parameters(
            {
                "base": np.log1p(faded_likes(data, self.config.half_life_days)),
                "indptr": lifts.indptr.astype(np.int64),
                "indices": lifts.indices.astype(np.int64),
                "data": lifts.data.astype(np.float64),
            }
        )
        return FitReport()

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        n_items = len(parameters["base"])
        self._lifts: Sparse = sparse.csr_matrix(
            (parameters["data"], parameters["indices"], parameters["indptr"]), (n_items, n_items)
        )

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        base = self.parameters()["base"]
        rows = query_rows(queries, len(base))
        voices = 1.0 + np.asarray(rows.sum(axis=1)).ravel()
        return gather(base + (rows @ self._lifts).toarray() / voices[:, None], candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """base: the popularity. parts: what each event's voice adds to it or takes off."""
        base = self.parameters()["base"]
        sources, values = evidence(query.history, len(base))
        parts = self._lifts[sources][:, items].toarray().T * (values / (1.0 + values.sum()))
        return Contributions(base[items], parts)


def _most(counts: Sparse, start: int, k: int) -> Sparse:
    """The `k` largest entries of each row, without the diagonal, which begins in the column `start`."""
    cells = counts.tocoo()
    order = np.lexsort((cells.col, -cells.data, cells.row))
    order = order[cells.row[order] + start != cells.col[order]]
    rows, columns, values = cells.row[order], cells.col[order], cells.data[order]
    lengths = np.bincount(rows, minlength=counts.shape[0])
    kept = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) < k
    return sparse.csr_matrix((values[kept], (rows[kept], columns[kept])), counts.shape)
