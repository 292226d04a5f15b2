"""The Python API: `zhiyin.ingest`, `zhiyin.train`, `zhiyin.evaluate`, `zhiyin.recommend`, `zhiyin.load`."""

from pathlib import Path
from typing import Any

from zhiyin.app.evaluate import EvaluateReport, EvaluateRequest
from zhiyin.app.evaluate import evaluate as _evaluate
from zhiyin.app.ingest import IngestReport, IngestRequest
from zhiyin.app.ingest import ingest as _ingest
from zhiyin.app.loading import load_system
from zhiyin.app.recommend import BatchRequest, recommend_batch
from zhiyin.app.system import System
from zhiyin.app.train import TrainReport, TrainRequest
from zhiyin.app.train import train as _train
from zhiyin.core.results import Recommendations


def ingest(*events: str | Path, store: str, **options: Any) -> IngestReport:
    """Reads event files into `store`; `options` are the fields of `IngestRequest`."""
    return _ingest(IngestRequest(events=events, store=store, **options))


def train(*, store: str, out: str | Path, **options: Any) -> TrainReport:
    """Trains on `store` and publishes under `out`; `options` are the fields of `TrainRequest`."""
    return _train(TrainRequest(store=store, out=Path(out), **options))


def evaluate(*, store: str, report: str | Path, **options: Any) -> EvaluateReport:
    """Compares models on a test split; `options` are the fields of `EvaluateRequest`."""
    return _evaluate(EvaluateRequest(store=store, report=Path(report), **options))


def recommend(user_id: str, *, store: str, artifact: str | Path, n: int = 10) -> Recommendations:
    """The list of one user."""
    return recommend_batch(BatchRequest(store, Path(artifact), [user_id], n))[0]


def load(artifact: str | Path) -> System:
    """The current version under `artifact`, verified."""
    return load_system(Path(artifact))
