"""What models that are a handful of arrays have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Parameters


class ModelConfig(BaseModel):
    """Settings of a model: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredModel:
    """A model whose whole state is `parameters()`; fitting ends in `load_parameters`, so both ways lead to one state.

    arrays: the names of the parameters.
    """

    name: ClassVar[str]
    arrays: ClassVar[frozenset[str]]

    def __init__(self, config: Any) -> None:
        self.config = config
        self._parameters: dict[str, NDArray[Any]] | None = None

    def parameters(self) -> Parameters:
        """The arrays that scoring needs. Raises `ArtifactError` before a fit or a load."""
        if self._parameters is None:
            raise ArtifactError(f"model {self.name!r} holds no parameters: fit it or load them first")
        return self._parameters

    def load_parameters(self, parameters: Parameters) -> None:
        """Takes over arrays as `parameters()` gave them. Raises `ArtifactError` where a name is missing or unknown."""
        if set(parameters) != self.arrays:
            raise ArtifactError(
                f"parameters of model {self.name!r} are {sorted(self.arrays)}, got {sorted(parameters)}: train it again"
            )
        self._parameters = {key: np.ascontiguousarray(value) for key, value in parameters.items()}
        self._prepare(self._parameters)

    def _prepare(self, parameters: Mapping[str, NDArray[Any]]) -> None:
        """Derives what scoring wants at hand."""


def by_owner(parameters: Parameters) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays that are called `OWNER.KEY`, by owner and key."""
    owned: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in parameters.items():
        owner, _, key = name.partition(".")
        owned.setdefault(owner, {})[key] = array
    return owned
