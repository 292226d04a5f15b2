"""Use case: models side by side on a test split that nothing was chosen on, and the report."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zhiyin.app.comparison import ComparisonRequest, compare
from zhiyin.app.divisions import divisions
from zhiyin.app.prepare import people_of, prepare_dataset
from zhiyin.app.rating_comparison import RatingsRequest, compare_ratings
from zhiyin.core.dataset import Dataset, Removal
from zhiyin.core.errors import InputError
from zhiyin.core.models import Progress, Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.leaderboard import Leaderboard
from zhiyin.evaluation.report import ReportParts, profile_of, write_report

PROTOCOLS = ("next", "time", "leave-one-out", "cv")
CHECKPOINTS = "checkpoints"
"""Folder of trainings that may be interrupted; what a kill left is found there until the report is written."""


@dataclass(frozen=True)
class EvaluateRequest:
    """protocol: "next", "time", "leave-one-out" or "cv" (ratings). models: none means all that fit the data.

    device: where networks are trained; None takes the best.
    """

    store: str
    report: Path
    protocol: str = "time"
    models: Sequence[str] = ()
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    seed: int = 0
    device: str | None = None
    tenant: str = "default"
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class EvaluateReport:
    """board: best first. page, figures: the files written. removals: what cleaning took out before all else.

    notes: what could not be done.
    """

    board: Leaderboard
    page: Path
    figures: Path
    removals: tuple[Removal, ...] = ()
    notes: tuple[str, ...] = ()


def evaluate(request: EvaluateRequest) -> EvaluateReport:
    """Evaluates and writes `report.html` and `leaderboard.json` into `request.report`.

    Broken off and started again with the same words, it trains on from where it was.
    """
    if request.protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {request.protocol!r}; choose {', '.join(PROTOCOLS)}")
    data = prepare_dataset(request.store, request.preparation, request.report / "vectors", request.tenant)
    board, parts = _ranking(data, request) if request.protocol != "cv" else (_ratings(data, request), ReportParts())
    page = write_report(request.report / "report.html", board, profile_of(data), parts)
    figures = request.report / "leaderboard.json"
    figures.write_text(board.to_json(), "utf-8")
    shutil.rmtree(request.report / CHECKPOINTS, ignore_errors=True)
    return EvaluateReport(board, page, figures, data.removals, tuple(parts.notes))


def _ranking(data: Dataset, request: EvaluateRequest) -> tuple[Leaderboard, ReportParts]:
    comparison = compare(
        data,
        divisions(data, request.protocol, request.seed),
        ComparisonRequest(
            models=request.models,
            seed=request.seed,
            checkpoints=request.report / CHECKPOINTS,
            people=people_of(request.store, request.tenant),
            device=request.device,
            progress=request.progress,
            announce=request.announce,
        ),
    )
    return comparison.board, comparison.parts


def _ratings(data: Dataset, request: EvaluateRequest) -> Leaderboard:
    return compare_ratings(
        data,
        RatingsRequest(
            request.models,
            request.seed,
            request.report / CHECKPOINTS,
            request.progress,
            request.announce,
            request.device,
        ),
    )
