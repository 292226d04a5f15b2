"""Matrix factorisation of implicit feedback."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, Choice, FitReport, Range, Run, gather
from zhiyin.models.inputs import evidence, training_rows
from zhiyin.models.stored import ModelConfig, StoredModel


class Als(StoredModel):
    """ALS on implicit feedback (Hu, Koren and Volinsky, 2008) with confidence 1 + alpha * weight.

    The `implicit` library fits the item factors; a query's factor is the exact minimum given its history, so known and
    new users are treated alike.
    """

    class Config(ModelConfig):
        """factors: dimensions. l2: ridge penalty. alpha: confidence that a unit of weight adds.

        binary: every liked item counts 1. half_life_days: fading of a query's events relative to its latest one.
        """

        factors: int = Field(default=32, ge=1)
        l2: float = Field(default=10.0, gt=0)
        alpha: float = Field(default=2.0, gt=0)
        iterations: int = Field(default=15, ge=1)
        binary: bool = True
        half_life_days: float | None = Field(default=None, gt=0)

    name: ClassVar[str] = "als"
    arrays: ClassVar[frozenset[str]] = frozenset({"item_factors"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"factors": 32, "l2": 10.0, "alpha": 2.0},
        {"factors": 32, "l2": 30.0, "alpha": 5.0},
        {"factors": 64, "l2": 50.0, "alpha": 5.0},
        {"factors": 64, "l2": 10.0, "alpha": 1.0},
    )
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "factors": Choice((16, 32, 64, 128)),
        "l2": Range(1.0, 200.0, log=True),
        "alpha": Range(0.5, 20.0, log=True),
        "half_life_days": Choice((None, 1.0, 3.0, 7.0, 30.0, 180.0)),
    }
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        rows = training_rows(data, binary=self.config.binary)
        rows.data = 1.0 + self.config.alpha * rows.data
        # The library spreads users over threads itself and slows down, with a warning, where BLAS does the same.
        with threadpool_limits(1, "blas"):
            library = AlternatingLeastSquares(
                factors=self.config.factors,
                regularization=self.config.l2,
                alpha=1.0,
                iterations=self.config.iterations,
                random_state=run.seed,
            )
            library.fit(rows.astype(np.float32), show_progress=False)
        self.load_parameters({"item_factors": np.asarray(library.item_factors, np.float32)})
        return FitReport()

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self._factors: NDArray[np.float64] = parameters["item_factors"].astype(np.float64)
        penalty = self.config.l2 * np.eye(self._factors.shape[1])
        self._gram: NDArray[np.float64] = self._factors.T @ self._factors + penalty

    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, factors) float64; zeros for a history without positive evidence."""
        n_items, size = self.parameters()["item_factors"].shape
        vectors = np.zeros((len(queries), size))
        for row, query in enumerate(queries):
            items, values = evidence(
                query.history, n_items, binary=self.config.binary, half_life_days=self.config.half_life_days
            )
            kept = values > 0
            if not kept.any():
                continue
            places, which = np.unique(items[kept], return_inverse=True)
            sure = self.config.alpha * np.bincount(which, values[kept])
            factors = self._factors[places]
            vectors[row] = np.linalg.solve(self._gram + (factors.T * sure) @ factors, (1.0 + sure) @ factors)
        return vectors

    def item_vectors(self) -> FloatMatrix:
        """(items, factors) float64."""
        self.parameters()
        return self._factors

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)
