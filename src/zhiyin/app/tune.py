"""Use case: search the settings of one model on validation data, for as long as one likes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zhiyin.app.divisions import possible_divisions
from zhiyin.app.loading import VECTORS
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model, reads_encoders
from zhiyin.app.selection import Goal, Selection, Verdict, tried
from zhiyin.core.dataset import Split
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.models import Choice, ExplorableModel, Model, Progress, Range, Silent
from zhiyin.dataset.settings import PreparationSettings

JOURNAL, SETTINGS = "trials.jsonl", "settings.json"
WARM_UP = 5
"""Trials, and epochs of each, before any is broken off."""


@dataclass(frozen=True)
class TuneRequest:
    """out: folder of the search, which goes on from what is there. minutes: after which this call begins no trial.

    trials: at most, of this call. validation: "next", "time", "leave-one-out" or "random".
    device: where networks are trained; None takes the best.
    """

    store: str
    model: str
    out: Path
    minutes: float = 10.0
    trials: int | None = None
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    validation: str = "next"
    seed: int = 0
    device: str | None = None
    tenant: str = "default"
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class TuneReport:
    """figure: NDCG@10 of `settings` on validation; defaults: of the model as it comes. finished: trials so far, with
    those of earlier calls. path: the settings as a file for `zhiyin train --config`.
    """

    model: str
    figure: float
    defaults: float
    settings: Mapping[str, Any]
    finished: int
    path: Path


def tune(request: TuneRequest) -> TuneReport:
    """Tries settings within a model's space by TPE (Bergstra et al., 2011), its defaults first.

    A training that is behind half of the others at the same epoch is broken off. Every trial is written down when it is
    done, so that a search that was interrupted, or is called again, goes on. Nothing but the validation part is looked
    at. Raises `ConfigError` for a model without a space and where Optuna is missing, `InputError` where the data has no
    room for validation and where no trial could be finished.
    """
    if find_spec("optuna") is None:
        raise ConfigError("tuning needs Optuna: pip install 'zhiyin[tune]'")
    model = make_model(request.model)
    if not isinstance(model, ExplorableModel):
        raise ConfigError(f"model {request.model!r} has no space of settings to search")
    data = prepare_dataset(request.store, request.preparation, request.out / VECTORS, request.tenant)
    divisions = possible_divisions(data, request.validation, request.seed)
    if divisions is None:
        raise InputError("too little data to validate on: nothing can be tuned")
    split = divisions.validation
    fixed = {"encoders": tuple(data.content)} if reads_encoders(request.model) else {}
    selection = Selection(
        request.seed, fixed=fixed, progress=request.progress, protocol=divisions.protocol, device=request.device
    )
    study = _study(request, f"{request.model} {split.train.fingerprint} {request.seed}")
    if not study.trials:
        study.enqueue_trial(_places(model.space, model.config))

    def objective(trial: Any) -> float:
        drawn = {name: _drawn(trial, name, space) for name, space in model.space.items()}
        request.announce(f"trial {trial.number + 1}: {', '.join(f'{name} {value}' for name, value in drawn.items())}")
        watched = replace(selection, goal=_Watched(selection.goal, trial))
        found, _ = tried(request.model, {**drawn, **fixed}, split, watched)
        trial.set_user_attr("settings", dict(found.config))
        return found.validation

    study.optimize(objective, n_trials=request.trials, timeout=60.0 * request.minutes, catch=(InputError,))
    finished = [trial for trial in study.trials if "settings" in trial.user_attrs]
    if not finished:
        raise InputError(f"no trial of {request.model!r} was finished: give it more minutes, or another model")
    best = max(finished, key=lambda trial: float(trial.value))
    settings = best.user_attrs["settings"]
    path = request.out / SETTINGS
    path.write_text(json.dumps({"model": settings}, indent=1), "utf-8")
    return TuneReport(request.model, best.value, finished[0].value, settings, len(finished), path)


class _Watched(Goal):
    """A goal whose figures, epoch by epoch, tell whether a trial is worth going on with."""

    def __init__(self, goal: Goal, trial: Any) -> None:
        self._goal, self._trial, self._epoch = goal, trial, 0

    def figure(self, model: Model, split: Split) -> float:
        import optuna  # noqa: PLC0415  an extra

        figure = self._goal.figure(model, split)
        self._epoch += 1
        self._trial.report(figure, self._epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned
        return figure

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        return self._goal.judge(model, split, seed)


def _study(request: TuneRequest, name: str) -> Any:
    import optuna  # noqa: PLC0415  an extra
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    request.out.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=name,
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(request.out / JOURNAL))),
        sampler=optuna.samplers.TPESampler(seed=request.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM_UP, n_warmup_steps=WARM_UP),
        direction="maximize",
        load_if_exists=True,
    )


def _drawn(trial: Any, name: str, space: Range | Choice) -> Any:
    if isinstance(space, Choice):
        return space.values[trial.suggest_categorical(name, list(range(len(space.values))))]
    suggest = trial.suggest_int if isinstance(space.low, int) and isinstance(space.high, int) else trial.suggest_float
    return suggest(name, space.low, space.high, log=space.log)


def _places(spaces: Mapping[str, Range | Choice], config: Any) -> dict[str, Any]:
    """Where the settings of `config` lie in the space; those that do not are left to be drawn."""
    places: dict[str, Any] = {}
    for name, space in spaces.items():
        value = getattr(config, name)
        if isinstance(space, Range):
            places[name] = value
        elif value in space.values:
            places[name] = space.values.index(value)
    return places
