"""Use case: models side by side on a test split that nothing was chosen on, and the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zhiyin.app.comparison import ComparisonRequest, compare, divisions, people_of
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection, candidates
from zhiyin.core.dataset import Dataset, Holdout, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import Progress, RatingModel, Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import fold_splits
from zhiyin.evaluation.leaderboard import Entry, Leaderboard
from zhiyin.evaluation.rating import RatingResult, evaluate_ratings
from zhiyin.evaluation.report import ReportParts, profile_of, write_report

FOLDS = 5
RATINGS = f"{FOLDS}-fold cross-validation of ratings, default settings"
PROTOCOLS = ("time", "leave-one-out", "cv")


@dataclass(frozen=True)
class EvaluateRequest:
    """protocol: "time", "leave-one-out" or "cv" (ratings). models: none means all that fit the data."""

    store: str
    report: Path
    protocol: str = "time"
    models: Sequence[str] = ()
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class EvaluateReport:
    """board: best first. page, figures: the files written."""

    board: Leaderboard
    page: Path
    figures: Path


def evaluate(request: EvaluateRequest) -> EvaluateReport:
    """Evaluates and writes `report.html` and `leaderboard.json` into `request.report`."""
    if request.protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {request.protocol!r}; choose time, leave-one-out or cv")
    data = prepare_dataset(request.store, request.preparation, request.report / "vectors")
    board, parts = _ratings(data, request) if request.protocol == "cv" else _ranking(data, request)
    page = write_report(request.report / "report.html", board, profile_of(data), parts)
    figures = request.report / "leaderboard.json"
    figures.write_text(board.to_json(), "utf-8")
    return EvaluateReport(board, page, figures)


def _ranking(data: Dataset, request: EvaluateRequest) -> tuple[Leaderboard, ReportParts]:
    comparison = compare(
        data,
        divisions(data, request.protocol, request.seed),
        ComparisonRequest(
            models=request.models,
            seed=request.seed,
            people=people_of(request.store),
            progress=request.progress,
            announce=request.announce,
        ),
    )
    return comparison.board, comparison.parts


def _ratings(data: Dataset, request: EvaluateRequest) -> tuple[Leaderboard, ReportParts]:
    splits = list(fold_splits(data, FOLDS, request.seed))
    entries = []
    for name in request.models or candidates(data):
        if not isinstance(make_model(name), RatingModel):
            continue
        request.announce(name)
        began = time.perf_counter()
        results, holdouts = [], []
        for split in splits:
            result, holdout = _fold(name, split, request)
            results.append(result)
            holdouts.append(holdout)
        whole = RatingResult.over_folds(results, holdouts)
        n = len(data.users)
        config = make_model(name).config.model_dump(mode="json")
        seconds = time.perf_counter() - began
        entries.append(Entry(name, config, whole.per_user(n), seconds, whole.intervals(n, request.seed)))
    if not entries:
        raise InputError("no model among those asked for predicts ratings; there is biased-mf")
    board = Leaderboard.build(entries, protocol=RATINGS, metric="rmse", seed=request.seed)
    return board, ReportParts()


def _fold(name: str, split: Split, request: EvaluateRequest) -> tuple[RatingResult, Holdout]:
    model = make_model(name)
    model.fit(split.train, Selection(request.seed, progress=request.progress).run())
    if not isinstance(model, RatingModel):
        raise InputError(f"model {name!r} predicts no ratings")
    return evaluate_ratings(model, split.holdout), split.holdout
