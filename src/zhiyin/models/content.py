"""Items whose content is like what the user liked."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import FitReport, Run
from zhiyin.models.growing import Growing
from zhiyin.models.inputs import Sparse
from zhiyin.models.narrowing import Narrowing, vectors_of
from zhiyin.models.nearness import NearnessConfig, NearnessModel


class ContentConfig(NearnessConfig):
    """encoders: whose vectors to read, side by side; none takes the first by name. content_dim: to which those vectors
    are narrowed.
    """

    encoders: tuple[str, ...] = ()
    content_dim: int = Field(default=256, ge=1)


class ContentNeighbours(NearnessModel):
    """Nearness is the cosine of content vectors in the directions that tell items apart.

    Of several encoders it is the mean over those that find something in both items.
    """

    name: ClassVar[str] = "content"
    Config: ClassVar[type[ContentConfig]] = ContentConfig
    arrays: ClassVar[frozenset[str]] = frozenset({"reads", "mean", "axes", "vectors"})
    config: ContentConfig

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Raises `ConfigError` where the data set has no vectors of an encoder."""
        if not data.content:
            raise ConfigError(
                f"model {self.name!r} finds no content in the data set: prepare it with an encoder or leave it out"
            )
        vectors = self._read(data.content)
        narrowing = Narrowing.found(vectors, self.config.content_dim)
        self._take(narrowing, narrowing.of(vectors))
        return FitReport()

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> "ContentNeighbours":
        arrived = self._narrowing.of(self._read(content)).astype(np.float32)
        parameters = self.parameters()
        other = type(self)(self.config)
        other._narrowing = self._narrowing
        other._stored, other._vectors = self._stored.with_more(arrived), self._vectors.with_more(arrived)
        other._parameters = {**parameters, "vectors": other._stored.rows}
        other._told = np.concatenate([self._told, self._found(arrived)])
        return other

    @property
    def n_items(self) -> int:
        return len(self.item_directions())

    def item_directions(self) -> FloatMatrix:
        """(items, encoders * content_dim) float64, of unit length or zero for each encoder."""
        self.parameters()
        return self._vectors.rows

    def near(self, sources: IntVector, targets: IntVector | None = None) -> FloatMatrix:
        vectors, told = self.item_directions(), self._told
        across, found = (vectors, told) if targets is None else (vectors[targets], told[targets])
        cosines: FloatMatrix = vectors[sources] @ across.T
        if len(self._narrowing.reads) > 1:
            cosines /= np.maximum(told[sources] @ found.T, 1.0)
        return cosines

    def mean_near(self, sources: IntVector, shares: Sparse) -> FloatMatrix:
        if len(self._narrowing.reads) > 1:
            return super().mean_near(sources, shares)
        vectors = self.item_directions()
        mean: FloatMatrix = (shares @ vectors[sources]) @ vectors.T
        return mean

    def pairwise(self, sources: IntVector, targets: IntVector) -> FloatVector:
        vectors, told = self.item_directions(), self._told
        cosines: FloatVector = (vectors[sources] * vectors[targets]).sum(axis=1)
        cosines /= np.maximum((told[sources] * told[targets]).sum(axis=1), 1.0)
        return cosines

    def _read(self, content: Mapping[str, FloatMatrix]) -> list[FloatMatrix]:
        return vectors_of(content, self.config.encoders or (min(content),), self.name)

    def _take(self, narrowing: Narrowing, vectors: FloatMatrix) -> None:
        self.load_parameters(
            {
                "reads": np.array(narrowing.reads, np.int64),
                "mean": narrowing.mean.astype(np.float32),
                "axes": narrowing.axes.astype(np.float32),
                "vectors": vectors.astype(np.float32),
            }
        )

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        reads = tuple(parameters["reads"].tolist())
        self._narrowing = Narrowing(reads, parameters["mean"], parameters["axes"])
        self._stored = Growing(parameters["vectors"])
        self._vectors = Growing(parameters["vectors"].astype(np.float64))
        self._told = self._found(self._vectors.rows)

    def _found(self, vectors: FloatMatrix) -> FloatMatrix:
        """(n, encoders) 1 where an encoder finds something in an item."""
        blocks = vectors.reshape(len(vectors), len(self._narrowing.reads), self._narrowing.width)
        found: FloatMatrix = np.asarray(np.abs(blocks).any(axis=2), np.float64)
        return found
