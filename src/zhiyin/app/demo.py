"""Use case: everything in one go, and only what changed the next time."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zhiyin
from zhiyin.app.ingest import IngestReport, IngestRequest, ingest
from zhiyin.app.movielens import fetch_movielens
from zhiyin.app.train import BOARD, REPORT, TrainReport, TrainRequest, train
from zhiyin.artifacts.folder import current
from zhiyin.core.models import Progress
from zhiyin.evaluation.leaderboard import Leaderboard

MODELS = (
    "popularity",
    "item-neighbours",
    "user-neighbours",
    "content",
    "als",
    "ease",
    "features",
    "attentive",
    "transformer",
)


@dataclass(frozen=True)
class DemoRequest:
    """data: the user's own file of events; None takes MovieLens 100K. home: where everything is kept.

    announce: told of each step. training: told of each training, `progress` of its course.
    """

    home: Path
    data: Path | None
    catalogue: Path | None
    announce: Callable[[str], None]
    progress: Progress
    training: Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """trained: None where nothing had changed since the last run. board, page: of the published version."""

    store: str
    artifact: Path
    imported: IngestReport | None
    trained: TrainReport | None
    board: Leaderboard
    page: Path


def prepare_demo(request: DemoRequest) -> Demo:
    """Fetches, imports, trains and publishes what is not there yet."""
    events, catalogue, users = _files(request)
    state = _state([path for path in (events, catalogue, users) if path is not None])
    folder = request.home / state
    store, artifact = f"sqlite:///{folder / 'events.db'}", folder / "system"
    if (artifact / "CURRENT").is_file() and (current(artifact) / BOARD).is_file():
        version = current(artifact)
        board = Leaderboard.from_json((version / BOARD).read_text("utf-8"))
        return Demo(store, artifact, None, None, board, version / REPORT)
    folder.mkdir(parents=True, exist_ok=True)
    request.announce(f"importing {events.name}")
    imported = ingest(
        IngestRequest(
            events=[events],
            store=store,
            catalogue=str(catalogue) if catalogue else None,
            users=str(users) if users else None,
            refused=folder / "refused.csv",
        )
    )
    trained = train(
        TrainRequest(
            store=store,
            out=artifact,
            models=MODELS if request.data is None else (),
            progress=request.progress,
            announce=request.training,
        )
    )
    return Demo(store, artifact, imported, trained, trained.board, trained.page)


def _files(request: DemoRequest) -> tuple[Path, Path | None, Path | None]:
    if request.data is not None:
        return request.data, request.catalogue, None
    files = fetch_movielens(request.home / "movielens", request.announce)
    return files.events, files.catalogue, files.users


def _state(paths: list[Path]) -> str:
    digest = hashlib.sha256(zhiyin.__version__.encode())
    for path in paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
