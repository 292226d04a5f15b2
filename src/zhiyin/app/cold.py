"""Use case: models side by side on items that training has never met, and on those that it has."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED, Goal, Selection, Trial, Verdict, best_trial
from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import Candidates, FitReport, Model, Progress, Run, Silent, gather
from zhiyin.dataset.splits import cold_items, hold_out_items, some_items, time_split
from zhiyin.evaluation.intervals import Interval, PairedTest, bootstrap_intervals, paired_test
from zhiyin.evaluation.ranking import View, evaluate_views, mean_defined
from zhiyin.models.stored import ModelConfig, StoredModel

CUT = 0.8
"""Share of the events that come before the questions, in the test part and again in the validation part before it."""

HELD_OUT = 0.2
METRICS = ("recall@10", WATCHED)
COLD, GENERALISED, WARM = VIEWS = ("cold", "generalised", "warm")
"""New items among new ones; new items among all; known items among all."""

REFERENCE, CHANCE = "text-neighbours", "random"

Figures = Mapping[str, Mapping[str, FloatVector]]
"""View -> metric -> (users,), NaN where a user is asked for nothing."""


@dataclass(frozen=True)
class ColdRequest:
    """models: registered names, or NAME+ENCODER, or NAME+ENCODER+ENCODER, for one that reads vectors of encoders.

    protocol: "first-appearance": items that appear after the cut are new; "random": besides, a fifth of the items is
    held out, others for each seed. settings: registered name -> over its defaults and over its own alternatives.
    seeds: of trainings and of what is held out; the first one chooses the settings.
    """

    models: Sequence[str]
    protocol: str = "first-appearance"
    seeds: Sequence[int] = (0,)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, eq=False)
class ColdRow:
    """validation: the figure that chose `config`, None where nothing was chosen. figures: each user's mean over the
    seeds. intervals: of their means over users. ahead: of the reference in NDCG@10 among new items, user by user.
    """

    model: str
    config: Mapping[str, Any]
    validation: float | None
    figures: Figures
    intervals: Mapping[str, Mapping[str, Interval]]
    ahead: PairedTest | None
    seconds: float


@dataclass(frozen=True, eq=False)
class ColdReport:
    """rows: in the order asked for, chance last. items: number of new ones, by seed. users: who are asked."""

    rows: tuple[ColdRow, ...]
    items: tuple[int, ...]
    users: int

    def row(self, model: str) -> ColdRow | None:
        return next((row for row in self.rows if row.model == model), None)


@dataclass(frozen=True, eq=False)
class ColdPart:
    """Questions about new items and others. cold: rows of the new ones. later: rows that nobody could know yet."""

    split: Split
    cold: IntVector
    later: IntVector

    def views(self) -> dict[str, View]:
        everything = np.setdiff1d(np.arange(len(self.split.train.items)), self.later)
        known = np.unique(self.split.train.histories.items)
        return {
            COLD: View(self.cold, self.cold),
            GENERALISED: View(self.cold, everything),
            WARM: View(known, everything),
        }

    def figures(self, model: Model, names: Sequence[str] = VIEWS) -> Figures:
        views = self.views()
        with threadpool_limits(1, "openmp"):
            results = evaluate_views(
                model,
                self.split.holdout,
                len(self.split.train.items),
                {name: views[name] for name in names},
                ks=(10,),
            )
        return {name: {metric: result.metrics[metric] for metric in METRICS} for name, result in results.items()}


@dataclass(frozen=True, eq=False)
class ColdAndWarm(Goal):
    """The mean of NDCG@10 for new items among new ones and for known items among all: one model has to serve both."""

    part: ColdPart

    def figure(self, model: Model, split: Split) -> float:
        return _mark(self.part.figures(model, (COLD, WARM)))

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        figures = self.part.figures(model, (COLD, WARM))
        flat = {f"{view} {name}": values for view, metrics in figures.items() for name, values in metrics.items()}
        return Verdict(_mark(figures), bootstrap_intervals(flat, seed=seed))


class Chance(StoredModel):
    """The control: scores drawn anew for every query."""

    name: ClassVar[str] = CHANCE
    Config: ClassVar[type[Any]] = ModelConfig
    arrays: ClassVar[frozenset[str]] = frozenset({"items_and_seed"})

    def fit(self, data: Dataset, run: Run) -> FitReport:
        self.load_parameters({"items_and_seed": np.array([len(data.items), run.seed])})
        return FitReport()

    def _prepare(self, parameters: Mapping[str, Any]) -> None:
        self._items, seed = parameters["items_and_seed"].tolist()
        self._generator = np.random.default_rng(seed)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self._generator.random((len(queries), self._items)), candidates)


def compare_cold(data: Dataset, request: ColdRequest) -> ColdReport:
    """Each model at its best settings by validation, fitted on what comes before the test part, and tested.

    Validation has new items of its own, from before the test cut. `text-neighbours` is always among the models.
    Raises `ConfigError` for a model that is unknown or reads no encoder, before any is trained, and `InputError` where
    the data has no new items that anybody is asked about.
    """
    names = tuple(dict.fromkeys([*request.models, REFERENCE]))
    for name in names:
        make_model(*_settings(name))
    parts = [cold_parts(data, request.protocol, seed) for seed in request.seeds]
    tests = list(zip(request.seeds, (test for test, _ in parts), strict=True))
    tested = {name: _tested(name, parts[0][1], tests, request) for name in names}
    chance = [_fitted(Chance(ModelConfig()), part, Selection(seed)) for seed, part in tests]
    tested[CHANCE] = _Tested(
        None, _pooled([part.figures(model) for model, (_, part) in zip(chance, tests, strict=True)])
    )
    reference = tested[REFERENCE].figures[COLD][WATCHED]
    rows = [
        _row(name, each, None if name == REFERENCE else reference, request.seeds[0]) for name, each in tested.items()
    ]
    return ColdReport(tuple(rows), tuple(len(test.cold) for test, _ in parts), len(parts[0][0].split.holdout))


def parsed(spec: str) -> tuple[str, tuple[str, ...]]:
    """Registered name and encoders of `NAME` or `NAME+ENCODER`, or of one with several encoders."""
    name, *encoders = spec.split("+")
    return name, tuple(encoders)


def _settings(spec: str) -> tuple[str, dict[str, Any]]:
    """Registered name and settings."""
    name, encoders = parsed(spec)
    return name, {"encoders": encoders} if encoders else {}


@dataclass(frozen=True, eq=False)
class _Tested:
    trial: Trial | None
    figures: Figures
    seconds: float = 0.0


def cold_parts(data: Dataset, protocol: str, seed: int) -> tuple[ColdPart, ColdPart]:
    """The test part, and the validation part within what it leaves to train on."""
    test = _part(data, protocol, seed, np.zeros(0, np.int64))
    return test, _part(test.split.train, protocol, seed, test.cold)


def _part(data: Dataset, protocol: str, seed: int, later: IntVector) -> ColdPart:
    split = time_split(data, CUT)
    if protocol == "random":
        split = hold_out_items(split, some_items(data.histories, HELD_OUT, seed))
    elif protocol != "first-appearance":
        raise InputError(f"unknown protocol {protocol!r}; choose first-appearance or random")
    cold = np.setdiff1d(cold_items(split), later)
    if not any(np.isin(targets, cold).any() for targets in split.holdout.targets):
        raise InputError(
            f"nobody is asked about a new item that the catalogue describes (protocol {protocol!r}): "
            "describe the items or choose the protocol random"
        )
    return ColdPart(split, cold, later)


def _tested(spec: str, validation: ColdPart, tests: Sequence[tuple[int, ColdPart]], request: ColdRequest) -> _Tested:
    began = time.perf_counter()
    name, given = _settings(spec)
    fixed = {**request.settings.get(name, {}), **given}
    selection = Selection(request.seeds[0], fixed=fixed, progress=request.progress, goal=ColdAndWarm(validation))
    request.announce(f"{spec}, choosing settings")
    trial = best_trial(name, validation.split, selection)
    figures = []
    for seed, part in tests:
        request.announce(f"{spec}, test with seed {seed}")
        model = _fitted(make_model(trial.model, trial.config), part, replace(selection, seed=seed))
        figures.append(part.figures(model))
    return _Tested(trial, _pooled(figures), time.perf_counter() - began)


def _fitted(model: Model, part: ColdPart, selection: Selection) -> Model:
    model.fit(part.split.train, selection.run())
    return model


def _row(name: str, tested: _Tested, reference: FloatVector | None, seed: int) -> ColdRow:
    trial, figures = tested.trial, tested.figures
    return ColdRow(
        name,
        trial.config if trial else {},
        trial.validation if trial else None,
        figures,
        {view: bootstrap_intervals(metrics, seed=seed) for view, metrics in figures.items()},
        None if reference is None else paired_test(figures[COLD][WATCHED], reference, seed),
        tested.seconds,
    )


def _mark(figures: Figures) -> float:
    return float(np.mean([mean_defined(figures[view][WATCHED]) for view in (COLD, WARM)]))


def _pooled(seeds: Sequence[Figures]) -> Figures:
    """Each user's mean over the seeds in which they have a figure."""
    return {view: {name: _mean([each[view][name] for each in seeds]) for name in METRICS} for view in VIEWS}


def _mean(seeds: Sequence[FloatVector]) -> FloatVector:
    values = np.stack(seeds)
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
