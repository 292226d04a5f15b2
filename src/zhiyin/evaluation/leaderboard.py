"""Models side by side, with what may be concluded from the difference."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from zhiyin.core.arrays import FloatVector
from zhiyin.core.errors import InputError
from zhiyin.evaluation.intervals import Interval, PairedTest, bootstrap_intervals, paired_test

ERRORS = frozenset({"rmse", "mae", "mse"})
"""Metrics where less is better."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One model's figures before comparison.

    per_user: name -> (n,) figures, aligned between entries. intervals: figures that are no mean over users (RMSE).
    beyond: figures of all lists together. seconds: of fitting and evaluating.
    """

    model: str
    config: Mapping[str, Any]
    per_user: Mapping[str, FloatVector]
    seconds: float
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    beyond: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LeaderboardRow:
    """test: against the baseline on the leaderboard's metric; None for the baseline itself."""

    model: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Interval]
    seconds: float
    test: PairedTest | None = None
    beyond: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaderboard:
    """Rows, best first by `metric`. protocol: the split, in words. baseline: the model others are tested against."""

    protocol: str
    metric: str
    baseline: str | None
    rows: tuple[LeaderboardRow, ...]

    @classmethod
    def build(
        cls,
        entries: Sequence[Entry],
        *,
        protocol: str,
        metric: str = "ndcg@10",
        baseline: str | None = None,
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
            rows.append(LeaderboardRow(entry.model, entry.config, metrics, entry.seconds, test, entry.beyond))
        sign = 1 if metric in ERRORS else -1
        rows.sort(key=lambda row: (math.isnan(row.metrics[metric].mean), sign * row.metrics[metric].mean, row.model))
        return cls(protocol, metric, baseline, tuple(rows))

    @property
    def best(self) -> LeaderboardRow:
        """The first row; raises `InputError` where there is none."""
        if not self.rows:
            raise InputError("the leaderboard is empty; evaluate at least one model")
        return self.rows[0]

    def to_json(self) -> str:
        """Strict JSON, an undefined figure as null; rows in order, with intervals and p-values."""
        document = {
            "protocol": self.protocol,
            "metric": self.metric,
            "baseline": self.baseline,
            "rows": [
                {
                    "model": row.model,
                    "config": row.config,
                    "metrics": {name: _interval(value) for name, value in row.metrics.items()},
                    "beyond": {name: _number(value) for name, value in row.beyond.items()},
                    "seconds": _number(row.seconds),
                    "p": None if row.test is None else row.test.p,
                    "difference": None if row.test is None else _interval(row.test.difference),
                }
                for row in self.rows
            ],
        }
        return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)


def _interval(value: Interval) -> dict[str, float | int | None]:
    return {"mean": _number(value.mean), "low": _number(value.low), "high": _number(value.high), "users": value.n}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
