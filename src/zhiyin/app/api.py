"""The Python API: `zhiyin.ingest`, `tune`, `train`, `update`, `evaluate`, and to ask what was trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zhiyin.app.evaluate import EvaluateReport, EvaluateRequest
from zhiyin.app.evaluate import evaluate as _evaluate
from zhiyin.app.ingest import IngestReport, IngestRequest
from zhiyin.app.ingest import ingest as _ingest
from zhiyin.app.serve import open_service
from zhiyin.app.service import ItemView, RecommendRequest, Service, WordsRequest
from zhiyin.app.train import TrainReport, TrainRequest
from zhiyin.app.train import train as _train
from zhiyin.app.tune import TuneReport, TuneRequest
from zhiyin.app.tune import tune as _tune
from zhiyin.app.update import UpdateReport, UpdateRequest
from zhiyin.app.update import update as _update
from zhiyin.core.results import Recommendations


def ingest(*events: str | Path, store: str, **options: Any) -> IngestReport:
    """Reads event files into `store`; `options` are the fields of `IngestRequest`."""
    return _ingest(IngestRequest(events=events, store=store, **options))


def train(*, store: str, out: str | Path, **options: Any) -> TrainReport:
    """Trains on `store` and publishes under `out`; `options` are the fields of `TrainRequest`."""
    return _train(TrainRequest(store=store, out=Path(out), **options))


def update(*, store: str, out: str | Path, **options: Any) -> UpdateReport:
    """Folds what came in since into the system under `out`; `options` are the fields of `UpdateRequest`."""
    return _update(UpdateRequest(store=store, out=Path(out), **options))


def tune(*, store: str, model: str, out: str | Path, **options: Any) -> TuneReport:
    """Searches settings of a model on validation data; `options` are the fields of `TuneRequest`."""
    return _tune(TuneRequest(store=store, model=model, out=Path(out), **options))


def evaluate(*, store: str, report: str | Path, **options: Any) -> EvaluateReport:
    """Compares models on a test split; `options` are the fields of `EvaluateRequest`."""
    return _evaluate(EvaluateRequest(store=store, report=Path(report), **options))


def recommend(user_id: str, *, store: str, artifact: str | Path, **options: Any) -> Recommendations:
    """The list of one user; `options` are those of `Recommender.recommend`. For several users, `load` once."""
    with load(artifact, store=store) as recommender:
        return recommender.recommend(user_id, **options)


def load(artifact: str | Path, *, store: str) -> "Recommender":
    """The current version under `artifact`, verified, over the events and the catalogue in `store`."""
    return Recommender(open_service(store, Path(artifact)))


@dataclass(frozen=True, eq=False)
class Recommender:
    """A published system that answers until it is closed; a context manager. service: what else it can tell."""

    service: Service

    def recommend(
        self,
        user_id: str,
        n: int = 10,
        *,
        categories: Sequence[str] = (),
        keep_seen: bool = False,
        items: Sequence[str] = (),
    ) -> Recommendations:
        """The list of one user, logged as shown; the arguments are the fields of `RecommendRequest`."""
        return self.service.recommend(RecommendRequest(user_id, n, categories, keep_seen, items))

    def find(
        self,
        text: str,
        user_id: str | None = None,
        *,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        categories: Sequence[str] = (),
        n: int = 10,
    ) -> list[tuple[ItemView, float]]:
        """Items by words in Chinese or English, with their scores; the arguments are the fields of `WordsRequest`."""
        return self.service.find(WordsRequest(text, like, unlike, categories, n), user_id)

    def close(self) -> None:
        self.service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
