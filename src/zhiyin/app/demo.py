"""Use case: everything in one go, and only what changed the next time."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import zhiyin
from zhiyin.app.ingest import IngestReport, IngestRequest, ingest
from zhiyin.app.loading import VECTORS
from zhiyin.app.movielens import fetch_movielens
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.publishing import BOARD, REPORT
from zhiyin.app.train import MINUTES, TrainReport, TrainRequest, train
from zhiyin.artifacts.folder import current, read_manifest
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.models import Progress
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.leaderboard import Leaderboard

MODELS = (
    "popularity",
    "item-neighbours",
    "user-neighbours",
    "content",
    "text-neighbours",
    "als",
    "ease",
    "linear",
    "features",
    "attentive",
    "transformer",
)


@dataclass(frozen=True)
class DemoRequest:
    """data: the user's own file of events; None takes MovieLens 100K. home: where everything is kept.

    announce: told of each step. training: told of each training, `progress` of its course. minutes: of a training on
    the user's own file. device: where networks are trained; None takes the best.
    """

    home: Path
    data: Path | None
    catalogue: Path | None
    announce: Callable[[str], None]
    progress: Progress
    training: Callable[[str], None]
    minutes: float = MINUTES
    device: str | None = None


@dataclass(frozen=True)
class Demo:
    """imported, trained: None where nothing had changed since the last run. board, page: of the published version."""

    store: str
    artifact: Path
    imported: IngestReport | None
    trained: TrainReport | None
    board: Leaderboard
    page: Path


@dataclass(frozen=True)
class _Files:
    """folder: what is made of these files, whatever they hold."""

    folder: Path
    events: Path
    catalogue: Path | None
    users: Path | None

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.events, self.catalogue, self.users) if path is not None]


@dataclass(frozen=True)
class _Mark:
    """A file as it was imported; of equal size and time it is not read to tell whether it changed."""

    sha256: str
    size: int = field(compare=False)
    modified: int = field(compare=False)


def prepare_demo(request: DemoRequest) -> Demo:
    """Fetches, imports, trains and publishes what is not there yet.

    The events of one path go into one store, along with what is done on the page: a file that has grown adds to them,
    and rows that are gone from it stay. Trained again is only where the store differs from what was trained on, or
    the program is another version. Raises `InputError` where a file is missing, before anything is made.
    """
    files = _files(request)
    store, artifact = f"sqlite:///{files.folder / 'events.db'}", files.folder / "system"
    state = files.folder / "files.json"
    before = _read_marks(state) if (files.folder / "events.db").is_file() else {}
    now = {str(path.resolve()): _mark(path, before.get(str(path.resolve()))) for path in files.paths}
    imported = trained = None
    if now != before:
        request.announce(f"importing {files.events.name}")
        files.folder.mkdir(parents=True, exist_ok=True)
        imported = ingest(
            IngestRequest(
                events=[files.events],
                store=store,
                catalogue=files.catalogue,
                users=files.users,
                refused=files.folder / "refused.csv",
            )
        )
    if not _trained(artifact, store if imported is not None else None):
        trained = train(
            TrainRequest(
                store=store,
                out=artifact,
                models=MODELS if request.data is None else (),
                minutes=None if request.data is None else request.minutes,
                device=request.device,
                progress=request.progress,
                announce=request.training,
            )
        )
    # Written last: after a run that was broken off, the next one looks at everything again.
    _write_marks(state, now)
    version = current(artifact)
    board = Leaderboard.from_json((version / BOARD).read_text("utf-8"))
    return Demo(store, artifact, imported, trained, board, version / REPORT)


def _files(request: DemoRequest) -> _Files:
    if request.data is None:
        if request.catalogue is not None:
            raise InputError(f"{request.catalogue}: a catalogue goes with a file of events; name that with --data")
        found = fetch_movielens(request.home / "movielens", request.announce)
        return _Files(request.home / "movielens-100k", found.events, found.catalogue, found.users)
    for path in (request.data, request.catalogue):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
    place = hashlib.sha256(str(request.data.resolve()).encode()).hexdigest()[:8]
    return _Files(request.home / f"{request.data.stem[:40]}-{place}", request.data, request.catalogue, None)


def _trained(artifact: Path, changed: str | None) -> bool:
    """Whether the published version is of this program and, where the store `changed`, of what is in it."""
    try:
        manifest = read_manifest(current(artifact))
    except ArtifactError:
        return False
    if manifest.code_version != zhiyin.__version__:
        return False
    if changed is None:
        return True
    data = prepare_dataset(changed, PreparationSettings(), artifact / VECTORS)
    return bool(manifest.data["fingerprint"] == data.fingerprint)


def _mark(path: Path, before: _Mark | None) -> _Mark:
    about = path.stat()
    if before is not None and (before.size, before.modified) == (about.st_size, about.st_mtime_ns):
        return before
    with path.open("rb") as stream:
        return _Mark(hashlib.file_digest(stream, "sha256").hexdigest(), about.st_size, about.st_mtime_ns)


def _read_marks(path: Path) -> Mapping[str, _Mark]:
    try:
        return {name: _Mark(**mark) for name, mark in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_marks(path: Path, marks: Mapping[str, _Mark]) -> None:
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(json.dumps({name: asdict(mark) for name, mark in marks.items()}, indent=1), "utf-8")
    beside.replace(path)
