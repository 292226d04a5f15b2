"""Models side by side, with what may be concluded from the difference."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from zhiyin.core.arrays import FloatVector
from zhiyin.core.errors import InputError
from zhiyin.core.strict_json import strict_json
from zhiyin.evaluation.controls import DifferentLists
from zhiyin.evaluation.intervals import Interval, PairedTest, bootstrap_interval, bootstrap_intervals, paired_test

ERRORS = frozenset({"rmse", "mae", "mse"})
"""Metrics where less is better."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One model's figures before comparison.

    per_user: name -> (n,) figures, aligned between entries. intervals: figures that are no mean over users (RMSE).
    beyond: figures of all lists together. seconds: of fitting and evaluating. validation: the leaderboard's metric
    where the settings were chosen. swapped: (n,) the leaderboard's metric where each user is answered from another
    user's history. different: lists before seen items are taken out.
    """

    model: str
    config: Mapping[str, Any]
    per_user: Mapping[str, FloatVector]
    seconds: float
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    beyond: Mapping[str, float] = field(default_factory=dict)
    validation: Interval | None = None
    swapped: FloatVector | None = None
    different: DifferentLists | None = None


@dataclass(frozen=True)
class Control:
    """others: the leaderboard's metric where each user is answered from another user's history.

    test: the model against itself so fed.
    """

    others: Interval
    test: PairedTest


@dataclass(frozen=True)
class LeaderboardRow:
    """test: against the baseline on the leaderboard's metric; None for the baseline itself.

    control: None for a model that does not depend on the history.
    """

    model: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Interval]
    seconds: float
    test: PairedTest | None = None
    beyond: Mapping[str, float] = field(default_factory=dict)
    validation: Interval | None = None
    control: Control | None = None
    different: DifferentLists | None = None


@dataclass(frozen=True)
class Leaderboard:
    """Rows, best first by `metric`. protocol: the split, in words. baseline: the model others are tested against.

    chosen: the model to publish, on data that the rows' figures know nothing of; None where nothing was chosen.
    """

    protocol: str
    metric: str
    baseline: str | None
    rows: tuple[LeaderboardRow, ...]
    chosen: str | None = None

    @classmethod
    def build(
        cls,
        entries: Sequence[Entry],
        *,
        protocol: str,
        metric: str = "ndcg@10",
        baseline: str | None = None,
        chosen: str | None = None,
        seed: int = 0,
        draws: int = 1000,
    ) -> Self:
        """Intervals for all figures, and a paired test of each entry against `baseline` on `metric`.

        Where `metric` is "rmse", the test compares the users' "mse". Raises `InputError` where two entries share a
        name, or one lacks the metric, or the baseline is not among them.
        """
        by_name = {entry.model: entry for entry in entries}
        if len(by_name) != len(entries):
            raise InputError(f"leaderboard entries need different names, got {[entry.model for entry in entries]}")
        if baseline is not None and baseline not in by_name:
            raise InputError(f"baseline {baseline!r} is not among the models: {sorted(by_name)}")
        tested = "mse" if metric == "rmse" else metric
        rows = []
        for entry in entries:
            metrics = {**bootstrap_intervals(entry.per_user, seed, draws), **entry.intervals}
            if metric not in metrics:
                raise InputError(f"model {entry.model!r} has no figure {metric!r}, only {sorted(metrics)}")
            test = None
            if baseline is not None and entry.model != baseline:
                test = paired_test(entry.per_user[tested], by_name[baseline].per_user[tested], seed)
            control = None
            if entry.swapped is not None:
                others = bootstrap_interval(entry.swapped, seed, draws)
                control = Control(others, paired_test(entry.per_user[tested], entry.swapped, seed))
            rows.append(
                LeaderboardRow(
                    model=entry.model,
                    config=entry.config,
                    metrics=metrics,
                    seconds=entry.seconds,
                    test=test,
                    beyond=entry.beyond,
                    validation=entry.validation,
                    control=control,
                    different=entry.different,
                )
            )
        return cls.of_rows(rows, protocol=protocol, metric=metric, baseline=baseline, chosen=chosen)

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[LeaderboardRow],
        *,
        protocol: str,
        metric: str,
        baseline: str | None = None,
        chosen: str | None = None,
    ) -> Self:
        """`rows`, each with figures of its own, sorted by `metric`; what is undefined comes last."""
        sign = 1 if metric in ERRORS else -1
        order = sorted(
            rows, key=lambda row: (math.isnan(row.metrics[metric].mean), sign * row.metrics[metric].mean, row.model)
        )
        return cls(protocol, metric, baseline, tuple(order), chosen)

    @property
    def best(self) -> LeaderboardRow:
        """The first row; raises `InputError` where there is none."""
        if not self.rows:
            raise InputError("the leaderboard is empty; evaluate at least one model")
        return self.rows[0]

    @property
    def main(self) -> LeaderboardRow:
        """The chosen model's row, the best where nothing was chosen."""
        return next((row for row in self.rows if row.model == self.chosen), self.best)

    def to_json(self) -> str:
        """Strict JSON, an undefined figure as null; rows in order, with intervals and p-values."""
        document = {
            "protocol": self.protocol,
            "metric": self.metric,
            "baseline": self.baseline,
            "chosen": self.chosen,
            "rows": [_row_to_json(row) for row in self.rows],
        }
        return strict_json(document, indent=2)

    @classmethod
    def from_json(cls, document: str) -> Self:
        """What `to_json` wrote."""
        parsed = json.loads(document)
        parsed["rows"] = tuple(_row_from_json(row) for row in parsed["rows"])
        return cls(**parsed)


def _row_to_json(row: LeaderboardRow) -> dict[str, Any]:
    return {
        "model": row.model,
        "config": row.config,
        "metrics": {name: _interval(value) for name, value in row.metrics.items()},
        "beyond": dict(row.beyond),
        "seconds": row.seconds,
        "p": None if row.test is None else row.test.p,
        "difference": None if row.test is None else _interval(row.test.difference),
        "validation": None if row.validation is None else _interval(row.validation),
        "control": None
        if row.control is None
        else {
            "others": _interval(row.control.others),
            "p": row.control.test.p,
            "difference": _interval(row.control.test.difference),
        },
        "different": None if row.different is None else asdict(row.different),
    }


def _row_from_json(row: Mapping[str, Any]) -> LeaderboardRow:
    control, different = row["control"], row["different"]
    return LeaderboardRow(
        model=row["model"],
        config=row["config"],
        metrics={name: _known(value) for name, value in row["metrics"].items()},
        seconds=_defined(row["seconds"]),
        test=None if row["p"] is None else PairedTest(_known(row["difference"]), row["p"]),
        beyond={name: _defined(value) for name, value in row["beyond"].items()},
        validation=None if row["validation"] is None else _known(row["validation"]),
        control=None
        if control is None
        else Control(_known(control["others"]), PairedTest(_known(control["difference"]), control["p"])),
        different=None if different is None else DifferentLists(**different),
    )


def _interval(value: Interval) -> dict[str, float | int | None]:
    return {"mean": value.mean, "low": value.low, "high": value.high, "users": value.n}


def _known(value: Mapping[str, Any]) -> Interval:
    return Interval(_defined(value["mean"]), _defined(value["low"]), _defined(value["high"]), value["users"])


def _defined(value: float | None) -> float:
    return math.nan if value is None else value
