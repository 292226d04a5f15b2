"""Use case: models side by side on a test split that nothing was chosen on, and the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.selection import (
    TEST_START,
    VALIDATION_START,
    WATCHED,
    Selection,
    best_trial,
    candidates,
    evaluated,
)
from zhiyin.core.dataset import Dataset, Holdout, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import Progress, RatingModel, Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import fold_splits, leave_one_out_split, time_split
from zhiyin.evaluation.beyond import evaluate_beyond, exposure, item_popularity
from zhiyin.evaluation.leaderboard import Entry, Leaderboard
from zhiyin.evaluation.rating import RatingResult, evaluate_ratings
from zhiyin.evaluation.report import ReportParts, profile_of, write_report
from zhiyin.evaluation.slices import by_history_length, by_target_popularity, slice_figures

FOLDS = 5
BASELINE = "popularity"
WORDS = {
    "time": "by time: settings chosen on the events between 80 % and 90 %, refitted before 90 %, tested on the rest",
    "leave-one-out": "leave-one-out: the last event of each user is tested, the last but one chose the settings",
    "cv": f"{FOLDS}-fold cross-validation of ratings, default settings",
}


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
    if request.protocol not in WORDS:
        raise InputError(f"unknown protocol {request.protocol!r}; choose time, leave-one-out or cv")
    data = prepare_dataset(request.store, request.preparation, request.report / "vectors")
    board, parts = _ratings(data, request) if request.protocol == "cv" else _ranking(data, request)
    page = write_report(request.report / "report.html", board, profile_of(data), parts)
    figures = request.report / "leaderboard.json"
    figures.write_text(board.to_json(), "utf-8")
    return EvaluateReport(board, page, figures)


def _ranking(data: Dataset, request: EvaluateRequest) -> tuple[Leaderboard, ReportParts]:
    split, inner = _divisions(data, request.protocol)
    selection = Selection(request.seed, progress=request.progress)
    popularity = item_popularity(split.train.histories, len(data.items))
    vectors = next(iter(data.content.values()), None)
    histories, targets = by_history_length(split.holdout), by_target_popularity(split.holdout, popularity)
    entries, curves, slices, exposures = [], {}, {}, {}
    for name in request.models or candidates(data):
        request.announce(name)
        began = time.perf_counter()
        trial = best_trial(name, inner, selection)
        model = make_model(name, trial.config)
        model.fit(split.train, selection.run())
        result = evaluated(model, split)
        beyond = evaluate_beyond(result.lists, split.holdout, popularity, len(data.users), vectors)
        seconds = time.perf_counter() - began
        metrics = {**result.metrics, **{f"first {key}": value for key, value in result.first.items()}}
        metrics |= {f"last {key}": value for key, value in result.last.items()}
        entries.append(Entry(name, trial.config, metrics, seconds, beyond=beyond.totals))
        slices[name] = [
            *slice_figures({WATCHED: result.metrics[WATCHED]}, histories, request.seed),
            *slice_figures({WATCHED: result.first[WATCHED]}, targets, request.seed),
        ]
        exposures[name] = exposure(result.lists, len(data.items))
        if trial.history:
            curves[name] = trial.history
    board = Leaderboard.build(
        entries,
        protocol=WORDS[request.protocol],
        metric=WATCHED,
        baseline=BASELINE if BASELINE in {entry.model for entry in entries} else None,
        seed=request.seed,
    )
    return board, ReportParts(curves=curves, slices=slices, slice_metric=WATCHED, exposures=exposures)


def _divisions(data: Dataset, protocol: str) -> tuple[Split, Split]:
    """The division that is tested on, and one within what comes before it, on which settings are chosen."""
    if protocol == "time":
        return time_split(data, TEST_START), time_split(data, VALIDATION_START, TEST_START)
    return leave_one_out_split(data), leave_one_out_split(data, "validation")


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
    board = Leaderboard.build(entries, protocol=WORDS["cv"], metric="rmse", seed=request.seed)
    return board, ReportParts()


def _fold(name: str, split: Split, request: EvaluateRequest) -> tuple[RatingResult, Holdout]:
    model = make_model(name)
    model.fit(split.train, Selection(request.seed, progress=request.progress).run())
    if not isinstance(model, RatingModel):
        raise InputError(f"model {name!r} predicts no ratings")
    return evaluate_ratings(model, split.holdout), split.holdout
