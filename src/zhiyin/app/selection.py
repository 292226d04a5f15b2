"""Choosing among models and settings, on validation data alone."""

import math
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from zhiyin.app.devices import training_device
from zhiyin.app.registry import MODELS, make_model, names, stoppable
from zhiyin.core.arrays import FloatVector
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import Model, Parameters, Progress, RatingModel, Run, Silent, TaughtModel, TunableModel
from zhiyin.dataset.splits import (
    cold_items,
    hold_out_items,
    last_share_split,
    last_visit_split,
    leave_one_out_split,
    next_event_split,
    some_items,
    time_split,
    user_holdout_split,
)
from zhiyin.evaluation.intervals import Interval, bootstrap_intervals
from zhiyin.evaluation.ranking import RankingResult, evaluate_ranking, mean_defined
from zhiyin.evaluation.rating import evaluate_ratings
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

VALIDATION_START, TEST_START = 0.8, 0.9
ASKED, ASKED_OF_NEW = 500, 200
"""Users that tell enough of how to weigh, by their answers and by those that are new items."""

HELD_OUT = 0.1
WATCHED = "ndcg@10"

WATCHERS = 3_000
"""Users that tell when a training is at its best."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """How well a model answers. figure: higher is better. intervals: by metric, 95 % over users. users: (n,) figures
    that `figure` is the mean of, empty where it is none.
    """

    figure: float
    intervals: Mapping[str, Interval]
    users: FloatVector = field(default_factory=lambda: np.zeros(0))


class Goal(ABC):
    """What a choice is for."""

    @abstractmethod
    def figure(self, model: Model, split: Split) -> float:
        """How well `model` answers the split's hold-out, higher is better."""

    @abstractmethod
    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        """`figure`, of all users of the split, with what it is made of."""


class Ranking(Goal):
    """Lists of what comes next, by NDCG@10; trainings are watched by some of the users."""

    def figure(self, model: Model, split: Split) -> float:
        if len(split.holdout) > WATCHERS:
            some = np.random.default_rng(0).choice(len(split.holdout), WATCHERS, replace=False)
            split = replace(split, holdout=split.holdout.take(np.sort(some)))
        return evaluated(model, split).means()[WATCHED]

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        return verdict(evaluated(model, split).metrics, seed)


class Ratings(Goal):
    """Expected ratings, by RMSE."""

    def figure(self, model: Model, split: Split) -> float:
        return -evaluate_ratings(rating_model(model), split.holdout).metrics["rmse"]

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        result = evaluate_ratings(rating_model(model), split.holdout)
        return Verdict(-result.metrics["rmse"], result.intervals(len(split.holdout), seed))


def verdict(metrics: Mapping[str, FloatVector], seed: int) -> Verdict:
    """Of figures by metric, (users,) each."""
    users = metrics[WATCHED]
    return Verdict(mean_defined(users), bootstrap_intervals(metrics, seed=seed), users)


def rating_model(model: Model) -> RatingModel:
    """`model`, where it predicts ratings. Raises `InputError` where it does not."""
    if not isinstance(model, RatingModel):
        raise InputError(f"model {model.name!r} predicts no ratings; there are {', '.join(rating_models())}")
    return model


@dataclass(frozen=True)
class Selection:
    """settings: over a model's defaults; where there are none, its own alternatives are tried. fixed: over those, too.

    checkpoints: folder in which an interrupted training finds its place again. protocol: how the data is divided, and
    so what parts of a model are weighed for. until: `time.monotonic()` up to which alternatives share the time; beyond
    it none is begun but the first, and trainings are stopped. device: where networks are trained; None takes the best.
    """

    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    checkpoints: Path | None = None
    goal: Goal = field(default_factory=Ranking)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = "time"
    until: float | None = None
    device: str | None = None

    def run(self) -> Run:
        """What surrounds a fit that validates nothing. Raises `ConfigError` for a device that is of no use."""
        hold_out = partial(weighing_split, seed=self.seed, protocol=self.protocol)
        return Run(
            PlainTrainer(),
            PlainStatistics(),
            seed=self.seed,
            device=training_device(self.device),
            progress=self.progress,
            hold_out=hold_out,
            checkpoints=self.checkpoints,
        )


@dataclass(frozen=True)
class Trial:
    """One model at its best settings, by validation. users: (n,) figures there, of which `validation` is the mean;
    empty where it is none. learned: what a fit on more data takes over (`TaughtModel`).
    """

    model: str
    config: Mapping[str, Any]
    validation: float
    intervals: Mapping[str, Interval]
    seconds: float
    history: tuple[Mapping[str, float], ...] = ()
    users: FloatVector = field(default_factory=lambda: np.zeros(0))
    learned: Parameters = field(default_factory=dict)


def candidates(data: Dataset) -> tuple[str, ...]:
    """Registered models that this data can feed."""
    unfit = set()
    if not data.content:
        unfit.add("content")
    if not any(data.catalog.texts()):
        unfit.add("text-neighbours")
    if unfit:
        unfit.update({"blend", "ranker"})
    if not (data.user_features.names or data.item_features.names):
        unfit.add("features")
    if not any(column.value is not None for column in data.user_features.columns):
        unfit.add("profile")
    if data.rating_scale is None:
        unfit.update(rating_models())
    return tuple(name for name in names(MODELS) if name not in unfit)


def rating_models() -> tuple[str, ...]:
    """Registered models that predict ratings."""
    return tuple(name for name in names(MODELS) if isinstance(make_model(name), RatingModel))


def validation_split(data: Dataset, protocol: str, seed: int) -> Split:
    """The division on which settings are chosen; by time and by the next event, it asks between 80 % and 90 %.

    Raises `InputError` for an unknown protocol.
    """
    if protocol == "next":
        return next_event_split(data, VALIDATION_START, TEST_START)
    if protocol == "time":
        return time_split(data, VALIDATION_START, TEST_START)
    if protocol == "leave-one-out":
        return leave_one_out_split(data)
    if protocol == "random":
        return user_holdout_split(data, 0.2, seed)
    raise InputError(f"unknown validation {protocol!r}; choose next, time, leave-one-out or random")


def weighing_split(data: Dataset, seed: int, protocol: str = "time") -> Split | None:
    """Later events on which parts of a model are weighed, those of new items among them; None of too little data.

    Of `leave-one-out` everybody's last event is asked about, of `next` the last one after the time that most events
    precede, otherwise all after it. Where few go on after that, everybody's last event is asked about instead of the
    next one; instead of all, the last visits of those who came back, or else the last fifth of each history: what is
    next in one sitting is not what is next in weeks. Where few answers are new by themselves, a tenth of the items is
    held out to stand for those to come.
    """
    by_share = (partial(last_share_split, share=1 - VALIDATION_START), 1)
    divisions: list[tuple[Callable[[Dataset], Split], int]]
    divisions = [(partial(time_split, start=VALIDATION_START), ASKED), (last_visit_split, ASKED), by_share]
    if protocol == "next":
        divisions = [(partial(next_event_split, start=VALIDATION_START), ASKED), (leave_one_out_split, 1), by_share]
    elif protocol == "leave-one-out":
        divisions = [(leave_one_out_split, 1), by_share]
    splits: list[Split] = []
    for divide, enough in divisions:
        with suppress(InputError):
            splits.append(divide(data))
        if splits and len(splits[-1].holdout) >= enough:
            break
    if not splits:
        return None
    split = max(splits, key=lambda each: len(each.holdout))
    new = cold_items(split)
    if sum(np.isin(targets, new).any() for targets in split.holdout.targets) >= ASKED_OF_NEW:
        return split
    return hold_out_items(split, some_items(split.train.histories, HELD_OUT, seed))


def best_trial(name: str, split: Split, selection: Selection) -> Trial:
    """The model's best settings on the split's hold-out, each tried over `selection.settings`."""
    return best_fit(name, split, selection)[0]


def best_fit(name: str, split: Split, selection: Selection) -> tuple[Trial, Model]:
    """`best_trial`, with the model as it was fitted then.

    Settings that the data does not suit are left out. Raises `InputError` where it suits none. Where time is short,
    trainings that can go on later do so by halves: all begin, and time after time the better half goes on, until the
    best one has what is left (successive halving, Jamieson & Talwalkar, 2016).
    """
    asked = [(each, 0.0) for each in _alternatives(name, selection)]
    halving = selection.until is not None and stoppable(name)
    with tempfile.TemporaryDirectory() as scratch:
        if halving and selection.checkpoints is None:
            selection = replace(selection, checkpoints=Path(scratch))
        while True:
            rounds = _rounds(len(asked)) if halving else 1
            trials, model = _round(name, asked, split, _until(selection, rounds))
            if rounds == 1 or _over(selection):
                return trials[0][1], model
            asked = [(settings, trial.seconds) for settings, trial in trials[: -(-len(trials) // 2)]]


def share_of_the_chosen(name: str, selection: Selection) -> float:
    """How much of the time in which the settings of a model are chosen goes to fitting it by those."""
    left, share, rest = len(_alternatives(name, selection)), 0.0, 1.0
    if not stoppable(name):
        return 1.0 / left
    while left > 1:
        share += rest / _rounds(left) / left
        rest -= rest / _rounds(left)
        left = -(-left // 2)
    return share + rest


def _rounds(left: int) -> int:
    """In which halves of so many settings go on until one has a round for itself."""
    return 1 + math.ceil(math.log2(left))


def _over(selection: Selection) -> bool:
    return selection.until is not None and time.monotonic() >= selection.until


def _alternatives(name: str, selection: Selection) -> list[Mapping[str, Any]]:
    """The settings to try, without the defaults."""
    overrides: Sequence[Mapping[str, Any]] = ({},)
    model = make_model(name, {**selection.settings, **selection.fixed})
    if not selection.settings and isinstance(model, TunableModel):
        overrides = model.search
    settings: list[Mapping[str, Any]] = []
    for override in overrides:
        over = {**selection.settings, **override, **selection.fixed}
        if over not in settings:
            settings.append(over)
    return settings


def _round(
    name: str, asked: Sequence[tuple[Mapping[str, Any], float]], split: Split, selection: Selection
) -> tuple[list[tuple[Mapping[str, Any], Trial]], Model]:
    """Settings with their trials, best first, and the best one's model; in equal shares of the time there is.

    asked: settings with the seconds that were spent on them before.
    """
    trials: list[tuple[Mapping[str, Any], Trial]] = []
    model: Model | None = None
    refused: list[InputError] = []
    longest = 0.0
    for left, (settings, spent) in zip(range(len(asked), 0, -1), asked, strict=True):
        # A training stops by itself, and uses its share up; of the last one the earlier ones must not take the turn.
        needs = 0.0 if stoppable(name) else longest
        if trials and selection.until is not None and time.monotonic() + needs >= selection.until:
            break
        try:
            trial, fitted = tried(name, settings, split, _until(selection, left))
        except InputError as error:
            refused.append(error)
            continue
        longest = max(longest, trial.seconds)
        if all(trial.validation > earlier.validation for _, earlier in trials):
            model = fitted
        trials.append((settings, replace(trial, seconds=spent + trial.seconds)))
    if model is None:
        raise refused[0]
    return sorted(trials, key=lambda pair: -pair[1].validation), model


def _until(selection: Selection, turns: int) -> Selection:
    """With the time that the next of so many turns has."""
    now = time.monotonic()
    return selection if selection.until is None else replace(selection, until=now + (selection.until - now) / turns)


def tried(name: str, settings: Mapping[str, Any], split: Split, selection: Selection) -> tuple[Trial, Model]:
    """A model fitted by `settings` and judged on the split's hold-out."""
    began = time.perf_counter()
    model = make_model(name, settings)
    report = model.fit(split.train, _run(name, split, selection))
    found = selection.goal.judge(model, split, selection.seed)
    config = {**model.config.model_dump(mode="json"), **report.settled}
    learned = model.learned() if isinstance(model, TaughtModel) else {}
    spent = time.perf_counter() - began
    return Trial(name, config, found.figure, found.intervals, spent, report.history, found.users, learned), model


def _run(name: str, split: Split, selection: Selection) -> Run:
    return replace(
        selection.run().called(name),
        validate=lambda model: selection.goal.figure(model, split),
        until=selection.until,
    )


def evaluated(model: Model, split: Split) -> RankingResult:
    with threadpool_limits(1, "openmp"):
        return evaluate_ranking(model, split.holdout, len(split.train.items))
