"""Use case: choose on validation, test, refit on everything, publish."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zhiyin.app.comparison import (
    BASELINE,
    Comparison,
    ComparisonRequest,
    compare,
    refit,
    without_comparison,
)
from zhiyin.app.divisions import possible_divisions
from zhiyin.app.loading import PROFILE, VECTORS
from zhiyin.app.prepare import people_of, prepare_dataset
from zhiyin.app.publishing import BOARD, REPORT, publish_fitted
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Trial
from zhiyin.core.dataset import Dataset, Removal
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Model, Progress, Silent
from zhiyin.core.results import Manifest
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.leaderboard import Leaderboard
from zhiyin.evaluation.report import profile_of, render_report

FALLBACK = BASELINE
CHECKPOINTS = "checkpoints"
"""Folder of trainings that may be interrupted; what a kill left is found there until the system is published."""

MINUTES = 60.0
"""In which commands try all models where nobody says how long that may take."""


@dataclass(frozen=True)
class TrainRequest:
    """model: None chooses among all. validation: "next", "time", "leave-one-out" or "random".

    settings: of the model. minutes: that all of it may take; None, other than on the command line, is without a limit.
    device: where networks are trained; None takes the best.
    progress: told of each training. announce: told of each model tried.
    """

    store: str
    out: Path
    model: str | None = None
    models: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    validation: str = "next"
    minutes: float | None = None
    seed: int = 0
    device: str | None = None
    tenant: str = "default"
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class TrainReport:
    """trials: best first by validation. chosen: refitted on everything and published. board: of the test part, or of
    validation where the data has no room for a test. notes: what could not be done. page: the report, a file of
    the published version. removals: what cleaning took out before all else.
    """

    trials: tuple[Trial, ...]
    chosen: Trial
    board: Leaderboard
    notes: tuple[str, ...]
    page: Path
    manifest: Manifest
    users: int
    items: int
    events: int
    removals: tuple[Removal, ...] = ()


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen on which data, and how it is to be fitted."""

    data: Dataset
    comparing: ComparisonRequest
    comparison: Comparison


def train(request: TrainRequest) -> TrainReport:
    """Chooses on validation data, tests the choice, refits it on everything and publishes it under `request.out`."""
    began = time.monotonic()
    data = prepared(request)
    return publish_choice(request, choose(request, data, (time.monotonic() - began) / 60.0))


def prepared(request: TrainRequest) -> Dataset:
    return prepare_dataset(request.store, request.preparation, request.out / VECTORS, request.tenant)


def choose(request: TrainRequest, data: Dataset, spent: float) -> Choice:
    """spent: minutes that are gone already."""
    comparing = _comparing(request, spent)
    return Choice(data, comparing, _compared(data, request, comparing))


def publish_choice(request: TrainRequest, choice: Choice, extra: Mapping[str, Any] | None = None) -> TrainReport:
    """The choice, refitted on everything, as the current version. extra: what its manifest tells besides."""
    data, comparing, comparison = choice.data, choice.comparing, choice.comparison
    chosen = comparison.chosen
    request.announce(f"{chosen.model}, refitting on everything")
    main = refit(chosen, data, comparing, "everything")
    popular = next((trial.config for trial in comparison.trials if trial.model == FALLBACK), {})
    fallback = make_model(FALLBACK, popular)
    fallback.fit(data, comparing.selection(FALLBACK).run())
    models = {"main": main, "fallback": fallback}
    if data.user_features.columns:
        models[PROFILE] = make_model(PROFILE)
        models[PROFILE].fit(data, comparing.selection(PROFILE).run())
    manifest = _publish(request, data, comparison, models, extra or {})
    for kept in (request.out / CHECKPOINTS).glob("**/checkpoint.*"):
        kept.unlink()
    return TrainReport(
        comparison.trials,
        chosen,
        comparison.board,
        tuple(comparison.parts.notes),
        request.out / manifest.manifest_id / REPORT,
        manifest,
        len(data.users),
        len(data.items),
        len(data.histories.items),
        data.removals,
    )


def _comparing(request: TrainRequest, spent: float) -> ComparisonRequest:
    """One model alone is tested against the baseline; settings are of the models asked for, not of the baseline.

    spent: minutes that are gone already.
    """
    asked = (request.model,) if request.model else tuple(request.models)
    if request.settings and not asked:
        raise ConfigError("settings are of one model: name it with --model, or leave out the [model] table")
    return ComparisonRequest(
        models=tuple(dict.fromkeys((request.model, BASELINE))) if request.model else asked,
        settings=dict.fromkeys(asked, request.settings),
        only=request.model,
        minutes=None if request.minutes is None else request.minutes - spent,
        seed=request.seed,
        checkpoints=request.out / CHECKPOINTS,
        people=people_of(request.store, request.tenant),
        device=request.device,
        progress=request.progress,
        announce=request.announce,
    )


def _compared(data: Dataset, request: TrainRequest, comparing: ComparisonRequest) -> Comparison:
    divisions = possible_divisions(data, request.validation, request.seed)
    if divisions is not None:
        return compare(data, divisions, comparing)
    note = "Too little data to compare models on: nothing was chosen or tested."
    return without_comparison(request.model or FALLBACK, request.settings if request.model else {}, [note])


def _publish(
    request: TrainRequest,
    data: Dataset,
    comparison: Comparison,
    models: Mapping[str, Model],
    extra: Mapping[str, Any],
) -> Manifest:
    page = render_report(comparison.board, profile_of(data), comparison.parts, title="Training")
    documents = {REPORT: page.encode(), BOARD: comparison.board.to_json().encode()}
    told = {
        "settings": request.preparation.model_dump(mode="json"),
        "split": {"protocol": comparison.protocol, "seed": request.seed, "words": comparison.board.protocol},
        "metrics": _metrics(comparison),
        "extra": extra,
    }
    return publish_fitted(request.out, data, models, documents, told)


def _metrics(comparison: Comparison) -> dict[str, Any]:
    """The chosen model's figures with intervals: of the test, None where there was none, and of validation."""
    validation = comparison.chosen.intervals
    row = comparison.board.main
    tested = {name: asdict(row.metrics[name]) for name in validation} if comparison.tested else None
    return {"test": tested, "validation": {name: asdict(interval) for name, interval in validation.items()}}
