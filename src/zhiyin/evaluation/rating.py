"""Accuracy of predicted ratings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.core.dataset import Holdout
from zhiyin.core.errors import InputError
from zhiyin.core.models import RatingModel
from zhiyin.evaluation.intervals import Interval, bootstrap_ratio


@dataclass(frozen=True, eq=False)
class RatingResult:
    """Predictions of the `n` known ratings of a hold-out, on the data's own scale.

    rows: (n,) row of the hold-out. predicted, actual: (n,). metrics: "rmse" and "mae" over all ratings alike.
    """

    rows: IntVector
    predicted: FloatVector
    actual: FloatVector
    metrics: Mapping[str, float]

    def per_user(self, n: int) -> dict[str, FloatVector]:
        """ "mse" and "mae" of each of `n` hold-out rows (NaN without ratings), for intervals and paired tests."""
        error = self.predicted - self.actual
        count = np.bincount(self.rows, minlength=n)
        divisor = np.where(count == 0, np.nan, count)
        return {
            "mse": np.bincount(self.rows, error**2, minlength=n) / divisor,
            "mae": np.bincount(self.rows, np.abs(error), minlength=n) / divisor,
        }

    def intervals(self, n: int, seed: int = 0) -> dict[str, Interval]:
        """ "rmse" and "mae" with 95 % bootstrap intervals over the users of `n` hold-out rows."""
        error = self.predicted - self.actual
        count = np.bincount(self.rows, minlength=n).astype(np.float64)
        squared: FloatVector = np.bincount(self.rows, error**2, n).astype(np.float64)
        absolute: FloatVector = np.bincount(self.rows, np.abs(error), n).astype(np.float64)
        return {
            "rmse": bootstrap_ratio(squared, count, seed, root=True),
            "mae": bootstrap_ratio(absolute, count, seed),
        }

    @classmethod
    def over_folds(cls, results: Sequence[Self], holdouts: Sequence[Holdout]) -> Self:
        """All folds in one, `rows` now being rows of users, so that a user's folds are resampled together."""
        rows = [holdout.users[result.rows] for result, holdout in zip(results, holdouts, strict=True)]
        predicted = np.concatenate([result.predicted for result in results])
        actual = np.concatenate([result.actual for result in results])
        return cls(np.concatenate(rows), predicted, actual, error_metrics(predicted - actual))


def evaluate_ratings(model: RatingModel, holdout: Holdout, batch: int = 256) -> RatingResult:
    """RMSE and MAE of `model` over every target that has a rating.

    Raises `InputError` where the hold-out has no ratings, or a prediction is not finite.
    """
    known = [~np.isnan(ratings) for ratings in holdout.ratings]
    rated = [row for row, mask in enumerate(known) if mask.any()]
    if not rated:
        raise InputError(f"hold-out {holdout.name!r} has no ratings; evaluate its ranking instead")
    # Queries with targets of similar number share a batch, so that little of the padded matrix is wasted.
    rated.sort(key=lambda row: int(known[row].sum()))
    rows: list[IntVector] = []
    predicted: list[FloatVector] = []
    actual: list[FloatVector] = []
    for start in range(0, len(rated), batch):
        chosen = rated[start : start + batch]
        lengths = np.array([known[row].sum() for row in chosen])
        filled = np.arange(lengths.max()) < lengths[:, None]
        candidates = np.zeros(filled.shape, np.int64)
        candidates[filled] = np.concatenate([holdout.targets[row][known[row]] for row in chosen])
        answers = np.asarray(model.predict_ratings([holdout.queries[row] for row in chosen], candidates), np.float64)
        if answers.shape != filled.shape or not np.isfinite(answers[filled]).all():
            raise InputError(
                f"{type(model).__name__} must give finite ratings of shape {filled.shape}, "
                f"gave {answers.shape} in hold-out {holdout.name!r}"
            )
        rows.append(np.repeat(np.asarray(chosen, np.int64), lengths))
        predicted.append(answers[filled])
        actual.append(np.concatenate([holdout.ratings[row][known[row]] for row in chosen]).astype(np.float64))
    flat_predicted, flat_actual = np.concatenate(predicted), np.concatenate(actual)
    return RatingResult(np.concatenate(rows), flat_predicted, flat_actual, error_metrics(flat_predicted - flat_actual))


def error_metrics(error: FloatVector) -> dict[str, float]:
    """ "rmse" and "mae" of (n,) predictions less what they are of."""
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
