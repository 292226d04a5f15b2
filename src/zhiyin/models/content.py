"""Items whose content is like what the user liked."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.content_reading import vectors_of
from zhiyin.models.inputs import recent_shares
from zhiyin.models.stored import ModelConfig, StoredModel


class ContentNeighbours(StoredModel):
    """Cosine between an item's content vector and the mean of the vectors of the user's recent likes.

    The mean over the catalogue is taken off first: what all items share says nothing of taste.
    """

    class Config(ModelConfig):
        """encoder: whose vectors to read, None takes the first by name. last: latest events that count.

        half_life_days: fading of events relative to the latest one.
        """

        encoder: str | None = None
        last: int = Field(default=50, ge=1)
        half_life_days: float | None = Field(default=None, gt=0)

    name: ClassVar[str] = "content"
    arrays: ClassVar[frozenset[str]] = frozenset({"vectors"})
    search: ClassVar[tuple[dict[str, Any], ...]] = (
        {"last": 10},
        {"last": 50},
        {"last": 500},
        {"last": 500, "half_life_days": 30.0},
    )
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `ConfigError` where the data set has no vectors of the encoder."""
        encoder = self.config.encoder or min(data.content, default=None)
        vectors = np.asarray(vectors_of(data.content, [str(encoder)], self.name), np.float64)
        told = np.abs(vectors).sum(axis=1) > 0
        centre = vectors[told].mean(axis=0) if told.any() else np.zeros(vectors.shape[1])
        centred = np.where(told[:, None], vectors - centre, 0.0)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-9)
        self.load_parameters({"vectors": unit.astype(np.float32)})
        return FitReport()

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        self._vectors: NDArray[np.float64] = parameters["vectors"].astype(np.float64)

    def query_vectors(self, queries: Sequence[Query]) -> FloatMatrix:
        """(queries, dim) float64; zeros for a history without positive evidence."""
        vectors = np.zeros((len(queries), self.item_vectors().shape[1]))
        for row, query in enumerate(queries):
            items, shares = recent_shares(
                query.history, len(self._vectors), self.config.last, self.config.half_life_days
            )
            vectors[row] = shares @ self._vectors[items]
        return vectors

    def item_vectors(self) -> FloatMatrix:
        """(items, dim) float64, of unit length or zero."""
        self.parameters()
        return self._vectors

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.query_vectors(queries) @ self.item_vectors().T, candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: an event's share in the mean times the cosine of its item with the target."""
        targets = self.item_vectors()[items]
        sources, shares = recent_shares(query.history, len(self._vectors), self.config.last, self.config.half_life_days)
        return Contributions(np.zeros(len(items)), targets @ self._vectors[sources].T * shares)
