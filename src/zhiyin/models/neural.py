"""What gradient models share: settings, the task that a trainer is handed, parameters in and out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from copy import deepcopy
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import Histories
from zhiyin.core.models import (
    Before,
    Candidates,
    FitReport,
    Objective,
    Outputs,
    Parameters,
    Run,
    Schedule,
    TrainingTask,
)
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.models.stored import ModelConfig


class NeuralConfig(ModelConfig):
    """Settings of every gradient model.

    dim: of item vectors. length: latest events of a history that are read. patience: epochs without a better validation
    figure after which training stops; where nothing validates, all epochs are trained.
    """

    dim: int = Field(default=64, ge=2)
    length: int = Field(default=100, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    epochs: int = Field(default=60, ge=1)
    batch_users: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    patience: int = Field(default=6, ge=0)


class ItemNetwork(nn.Module):
    """A network over the rows of `n_items` items."""

    by_item: ClassVar[frozenset[str]] = frozenset({"item_bias"})
    """Parameters with a row for each item; what rows come behind those are of no item."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.item_bias = nn.Parameter(torch.zeros(n_items))


N = TypeVar("N", bound=ItemNetwork)


class NeuralModel(ABC, Generic[N]):
    """A model around one network; scores come from a copy in float64."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        self.config = config
        self._trained: N | None = None
        self._frozen: N | None = None

    @abstractmethod
    def build(self, data: Dataset) -> N:
        """A network for `data` with parameters drawn at random."""

    @abstractmethod
    def shaped(self, parameters: Parameters) -> N:
        """A network that `parameters` fit into. Raises `KeyError` where they are of another model."""

    @abstractmethod
    def task(self, network: N, data: Dataset, run: Run) -> TrainingTask:
        """What the network is trained for; sets what the network takes from `data` untrained."""

    @abstractmethod
    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix: ...

    def fit(self, data: Dataset, run: Run) -> FitReport:
        torch.manual_seed(run.seed)
        self._trained = self.build(data)
        if run.before is not None:
            _take_over(self._trained, run.before)
        report = run.trainer.run(self.task(self._trained, data, run), run)
        self.settle()
        return report

    def settle(self) -> None:
        """Takes over the network as trained so far, in float64: a list must not depend on who else is in the batch.

        Wherever it trains, it answers on the CPU.
        """
        if self._trained is None:
            raise ArtifactError(f"{self.name}: not fitted yet; fit it or load parameters first")
        self._frozen = deepcopy(self._trained).cpu().double().eval().requires_grad_(False)

    def parameters(self) -> Parameters:
        return {name: value.float().cpu().numpy() for name, value in self.network.state_dict().items()}

    def load_parameters(self, parameters: Parameters) -> None:
        try:
            network = self.shaped(parameters)
            network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in parameters.items()})
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                f"{self.name}: these parameters are of another model or version; train it again"
            ) from error
        self._trained = network
        self.settle()

    @property
    def network(self) -> N:
        """The network that answers. Raises `ArtifactError` before a fit or a load."""
        if self._frozen is None:
            raise ArtifactError(f"{self.name}: not fitted yet; fit it or load parameters first")
        return self._frozen


def _take_over(network: ItemNetwork, before: Before) -> None:
    """Parameters of the model before; rows of items that it did not know stay as they were drawn."""
    earlier = cast(NeuralModel[ItemNetwork], before.model).network
    known = torch.from_numpy(before.places != UNKNOWN)
    places = torch.from_numpy(before.places)[known]
    told = earlier.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name in network.by_item:
                value[: network.n_items][known] = told[name][places].to(value.dtype)
                value[network.n_items :] = told[name][earlier.n_items :].to(value.dtype)
            else:
                value.copy_(told[name])


class NeuralTask(ABC, Generic[N]):
    """Histories in batches of users; `least` events make a user worth learning from."""

    objective: Objective
    by_row: Set[str] = frozenset()

    def __init__(
        self, model: NeuralModel[N], network: N, data: Dataset, run: Run, *, histories: Histories, least: int
    ) -> None:
        config = model.config
        self.module = network
        self.settings: Mapping[str, Any] = {"data": data.fingerprint, **config.model_dump()}
        self.histories, self.config, self.device = histories, config, run.device
        share = 1.0 if run.before is None else run.before.share
        self.schedule = Schedule(
            epochs=max(1, round(share * config.epochs)),
            batch_users=config.batch_users,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=config.patience if run.validate is not None else 0,
        )
        self.users: IntVector = np.flatnonzero(histories.lengths >= least)
        counts = np.bincount(histories.items, minlength=network.n_items)
        self.item_counts: FloatVector = counts.astype(np.float64) + 1e-3
        self._model, self._validate = model, run.validate

    @abstractmethod
    def batch(self, users: IntVector, generator: np.random.Generator) -> Any: ...

    @abstractmethod
    def outputs(self, batch: Any, negatives: Any | None) -> Outputs: ...

    def validate(self) -> float | None:
        if self._validate is None:
            return None
        self._model.settle()
        return self._validate(self._model)

    def tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.asarray(array)).to(self.device)
