"""Use case: choose on validation, refit on everything, publish."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zhiyin
from zhiyin.app.loading import CATALOG, catalog_to_json
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import MODELS, make_model, names
from zhiyin.artifacts.folder import publish
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import FitReport, Model, Progress, Run, Silent, TunableModel
from zhiyin.core.results import Manifest
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import leave_one_out_split, time_split, user_holdout_split
from zhiyin.evaluation.intervals import Interval, bootstrap_intervals
from zhiyin.evaluation.ranking import RankingResult, evaluate_ranking
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

VALIDATION_START, TEST_START = 0.8, 0.9
WATCHED = "ndcg@10"
FALLBACK = "popularity"


@dataclass(frozen=True)
class TrainRequest:
    """model: None chooses among all. validation: "time", "leave-one-out" or "random" (users).

    settings: of the model. progress: told of each training. announce: told of each model tried.
    """

    store: str
    out: Path
    model: str | None = None
    models: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    validation: str = "time"
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Trial:
    """One model at its best settings, by validation."""

    model: str
    config: Mapping[str, Any]
    validation: float
    intervals: Mapping[str, Interval]
    seconds: float
    history: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class TrainReport:
    """trials: best first. chosen: the first of them, refitted on everything and published."""

    trials: tuple[Trial, ...]
    chosen: Trial
    manifest: Manifest
    users: int
    items: int
    events: int


def train(request: TrainRequest) -> TrainReport:
    """Fits, compares on validation data, refits the best on everything and publishes it under `request.out`."""
    data = prepare_dataset(request.store, request.preparation, request.out / "vectors")
    split = validation_split(data, request.validation, request.seed)
    wanted = [request.model] if request.model else list(request.models or candidates(data))
    trials = []
    for name in wanted:
        request.announce(name)
        trials.append(best_trial(name, split, request))
    trials.sort(key=lambda trial: -trial.validation)
    chosen = trials[0]
    run = Run(PlainTrainer(), PlainStatistics(), seed=request.seed, progress=request.progress)
    main = make_model(chosen.model, chosen.config)
    main.fit(data, run)
    fallback = make_model(FALLBACK)
    fallback.fit(data, run)
    manifest = _publish(request, data, split, chosen, {"main": main, "fallback": fallback})
    return TrainReport(tuple(trials), chosen, manifest, len(data.users), len(data.items), len(data.histories.items))


def candidates(data: Dataset) -> tuple[str, ...]:
    """Registered models that this data can feed."""
    unfit = set()
    if not data.content:
        unfit.add("content")
    if not (data.user_features.names or data.item_features.names):
        unfit.add("features")
    if data.rating_scale is None:
        unfit.add("biased-mf")
    return tuple(name for name in names(MODELS) if name not in unfit)


def validation_split(data: Dataset, protocol: str, seed: int) -> Split:
    """The division on which settings are chosen; by time, it asks about the events between 80 % and 90 %.

    Raises `InputError` for an unknown protocol.
    """
    if protocol == "time":
        return time_split(data, VALIDATION_START, TEST_START)
    if protocol == "leave-one-out":
        return leave_one_out_split(data)
    if protocol == "random":
        return user_holdout_split(data, 0.2, seed)
    raise InputError(f"unknown validation {protocol!r}; choose time, leave-one-out or random")


def best_trial(name: str, split: Split, request: TrainRequest) -> Trial:
    """The model's best settings on the split's hold-out, each tried over `request.settings`."""
    overrides: Sequence[Mapping[str, Any]] = ({},)
    model = make_model(name, request.settings)
    if not request.settings and isinstance(model, TunableModel):
        overrides = model.search
    trials = [_try(name, {**request.settings, **override}, split, request) for override in overrides]
    return max(trials, key=lambda trial: trial.validation)


def _try(name: str, settings: Mapping[str, Any], split: Split, request: TrainRequest) -> Trial:
    began = time.perf_counter()
    model = make_model(name, settings)
    report: FitReport = model.fit(split.train, _run(name, split, request))
    result = _evaluated(model, split)
    intervals = bootstrap_intervals(result.metrics, seed=request.seed)
    config = {**model.config.model_dump(mode="json"), **report.settled}
    return Trial(name, config, result.means()[WATCHED], intervals, time.perf_counter() - began, report.history)


def _run(name: str, split: Split, request: TrainRequest) -> Run:
    return Run(
        PlainTrainer(),
        PlainStatistics(),
        seed=request.seed,
        progress=request.progress,
        validate=lambda model: _evaluated(model, split).means()[WATCHED],
        checkpoints=request.out / "checkpoints" / name,
    )


def _evaluated(model: Model, split: Split) -> RankingResult:
    return evaluate_ranking(model, split.holdout, len(split.train.items))


def _publish(
    request: TrainRequest, data: Dataset, split: Split, chosen: Trial, models: Mapping[str, Model]
) -> Manifest:
    components = {
        name: {"model": model.name, "config": model.config.model_dump(mode="json")} for name, model in models.items()
    }
    description = {
        "code_version": zhiyin.__version__,
        "settings": request.preparation.model_dump(mode="json"),
        "data": {
            "fingerprint": data.fingerprint,
            "users": len(data.users),
            "items": len(data.items),
            "events": len(data.histories.items),
            "rating_scale": data.rating_scale,
        },
        "split": {"protocol": request.validation, "users": len(split.holdout), "seed": request.seed},
        "metrics": {name: asdict(interval) for name, interval in chosen.intervals.items()},
    }
    parameters = {name: model.parameters() for name, model in models.items()}
    return publish(request.out, components, parameters, {CATALOG: catalog_to_json(data.catalog)}, description)
