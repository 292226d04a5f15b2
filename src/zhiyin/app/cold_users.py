"""Use case: models side by side on users who come after training, asked after none of their events and a few."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED, Goal, Selection, Trial, Verdict, best_trial, evaluated
from zhiyin.core.arrays import BoolVector, FloatVector
from zhiyin.core.dataset import Dataset, Holdout, Split
from zhiyin.core.models import Model, Progress, Run, Silent
from zhiyin.dataset.splits import newcomer_splits
from zhiyin.evaluation.intervals import Interval, PairedTest, bootstrap_interval, bootstrap_intervals, paired_test

CUT = 0.8
"""Share of the events that come before the newcomers, in the test part and again in the validation part before it."""

AFTER = (0, 1, 2, 3, 5)
POPULAR = "popularity"

Figures = Mapping[int, FloatVector]
"""Number of events -> (users,) NDCG@10."""

Splits = Mapping[int, Split]
"""Number of events -> training part and questions; all share the training part, the users and the answers."""


@dataclass(frozen=True)
class ColdUsersRequest:
    """models: registered names. settings: registered name -> over its defaults and over its own alternatives.

    seeds: of trainings; the first one chooses the settings.
    """

    models: Sequence[str]
    seeds: Sequence[int] = (0,)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, eq=False)
class ColdUsersRow:
    """validation: the figure that chose `config`. figures: each user's mean over the seeds. intervals: of their means
    over users. ahead: of popularity, user by user; empty for popularity itself.
    """

    model: str
    config: Mapping[str, Any]
    validation: float
    figures: Figures
    intervals: Mapping[int, Interval]
    ahead: Mapping[int, PairedTest]
    seconds: float


@dataclass(frozen=True, eq=False)
class ColdUsersReport:
    """rows: popularity first, the others as asked for. users: who are asked. validated: who chose the settings."""

    rows: tuple[ColdUsersRow, ...]
    users: int
    validated: int

    @property
    def preferred(self) -> ColdUsersRow:
        """The row that validation prefers."""
        return max(self.rows, key=lambda row: row.validation)


@dataclass(frozen=True, eq=False)
class FirstEvents(Goal):
    """The mean NDCG@10 over the numbers of events above 0: before the first one every model answers alike."""

    splits: Splits

    def figure(self, model: Model, split: Split) -> float:
        return _mark(_answered(model, self.splits), self.splits)

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        figures = _answered(model, self.splits)
        named = {f"{WATCHED} after {k}": v for k, v in figures.items()}
        return Verdict(_mark(figures, self.splits), bootstrap_intervals(named, seed=seed))


@dataclass(frozen=True)
class NewcomerSelection(Selection):
    """Parts of a model are weighed on newcomers, too: of those they say less than of others."""

    def run(self) -> Run:
        return replace(super().run(), hold_out=_newcomers)


def compare_cold_users(data: Dataset, request: ColdUsersRequest) -> ColdUsersReport:
    """Each model at its best settings by validation, fitted on what comes before the newcomers, and tested on them.

    Validation has newcomers of its own, all of whose answers come before the test part. To a user of whom nothing
    liked is known a system serves the popular list, so there every model has the figure of popularity, which is always
    among the models. Raises `ConfigError` for an unknown model before any is trained, and `InputError` where the data
    has no newcomers.
    """
    names = tuple(dict.fromkeys([POPULAR, *request.models]))
    for name in names:
        make_model(name, request.settings.get(name))
    test = newcomer_splits(data, CUT, AFTER)
    validation = newcomer_splits(test[0].train, CUT, AFTER)
    tested = {name: _tested(name, validation, test, request) for name in names}
    told = {k: _told(split.holdout) for k, split in test.items()}
    popular = tested[POPULAR].figures
    served = {
        name: {k: np.where(told[k], values, popular[k]) for k, values in each.figures.items()}
        for name, each in tested.items()
    }
    rows = tuple(_row(name, each, served, request.seeds[0]) for name, each in tested.items())
    return ColdUsersReport(rows, len(test[0].holdout), len(validation[0].holdout))


@dataclass(frozen=True, eq=False)
class _Tested:
    trial: Trial
    figures: Figures
    seconds: float


def _tested(name: str, validation: Splits, test: Splits, request: ColdUsersRequest) -> _Tested:
    began = time.perf_counter()
    fixed = request.settings.get(name, {})
    selection = NewcomerSelection(
        request.seeds[0], fixed=fixed, progress=request.progress, goal=FirstEvents(validation)
    )
    request.announce(f"{name}, choosing settings")
    trial = best_trial(name, validation[0], selection)
    seeds = []
    for seed in request.seeds:
        request.announce(f"{name}, test with seed {seed}")
        model = make_model(trial.model, trial.config)
        model.fit(test[0].train, replace(selection, seed=seed).run())
        seeds.append(_answered(model, test))
    figures = {k: np.mean([each[k] for each in seeds], axis=0) for k in test}
    return _Tested(trial, figures, time.perf_counter() - began)


def _row(name: str, tested: _Tested, served: Mapping[str, Figures], seed: int) -> ColdUsersRow:
    figures, popular = served[name], served[POPULAR]
    return ColdUsersRow(
        name,
        tested.trial.config,
        tested.trial.validation,
        figures,
        {k: bootstrap_interval(values, seed) for k, values in figures.items()},
        {} if name == POPULAR else {k: paired_test(values, popular[k], seed) for k, values in figures.items()},
        tested.seconds,
    )


def _answered(model: Model, splits: Splits) -> Figures:
    return {k: evaluated(model, split).metrics[WATCHED] for k, split in splits.items()}


def _told(holdout: Holdout) -> BoolVector:
    """(users,) whether a question tells of anything liked."""
    return np.array([(query.history.weights > 0).any() for query in holdout.queries], np.bool_)


def _mark(figures: Figures, splits: Splits) -> float:
    told = {k: _told(split.holdout) for k, split in splits.items()}
    return float(np.mean([figures[k][told[k]].mean() for k in splits if told[k].any()]))


def _newcomers(data: Dataset) -> Split:
    """The questions after one event and more, as one hold-out."""
    splits = [split for k, split in newcomer_splits(data, CUT, AFTER).items() if k > 0]
    holdouts = [split.holdout for split in splits]
    whole = Holdout(
        "newcomers",
        np.concatenate([each.users for each in holdouts]),
        *(
            tuple(value for each in holdouts for value in getattr(each, name))
            for name in ("queries", "targets", "ratings", "seen")
        ),
    )
    return Split(splits[0].train, whole)
