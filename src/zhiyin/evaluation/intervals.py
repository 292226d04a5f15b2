"""How sure a figure is, and whether two models differ: resampling over users."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.errors import InputError

CHUNK_CELLS = 4_000_000
"""Draws x users that are held at once."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` users with the bounds of its interval; NaN where no user has a figure."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class PairedTest:
    """difference: mean of the first model less the second, with its interval. p: two-sided."""

    difference: Interval
    p: float


def bootstrap_intervals(
    metrics: Mapping[str, FloatVector], seed: int = 0, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile bootstrap over users (Efron 1979) of each mean; the metrics share their draws.

    metrics: name -> (n,) figures of the same users; NaN means undefined and is left out of a mean.
    """
    if not metrics:
        return {}
    lengths = {len(values) for values in metrics.values()}
    if len(lengths) != 1:
        raise InputError(f"metrics of different numbers of users cannot share draws: {sorted(lengths)}")
    if draws < 1 or not 0 < level < 1:
        raise InputError(f"draws must be 1 or more and level between 0 and 1, got {draws} and {level}")
    matrix = np.stack([np.asarray(values, np.float64) for values in metrics.values()], axis=1)
    known = ~np.isnan(matrix)
    filled = np.where(known, matrix, 0.0)
    parts = [(weights @ filled, weights @ known.astype(np.float64)) for weights in _resampled(len(matrix), draws, seed)]
    count = np.concatenate([part[1] for part in parts]) if parts else np.zeros((0, len(metrics)))
    total = np.concatenate([part[0] for part in parts]) if parts else count
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return {name: _interval(matrix[:, i], means[:, i], level) for i, name in enumerate(metrics)}


def bootstrap_interval(values: FloatVector, seed: int = 0, draws: int = 1000, level: float = 0.95) -> Interval:
    """`bootstrap_intervals` of one (n,) vector."""
    return bootstrap_intervals({"value": values}, seed, draws, level)["value"]


def bootstrap_ratio(
    numerator: FloatVector, denominator: FloatVector, seed: int = 0, draws: int = 1000, root: bool = False
) -> Interval:
    """95 % percentile bootstrap over users of sum(numerator) / sum(denominator), or of its square root.

    numerator, denominator: (n,) a user, for figures that weigh users by their events, such as RMSE (squared
    errors, ratings). Users with a denominator of 0 are left out.
    """
    used = np.asarray(denominator) > 0
    top, bottom = np.asarray(numerator, np.float64)[used], np.asarray(denominator, np.float64)[used]
    n = len(top)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    drawn = np.concatenate([(weights @ top) / (weights @ bottom) for weights in _resampled(n, draws, seed)])
    figures = np.array([top.sum() / bottom.sum(), *np.quantile(drawn, [0.025, 0.975])])
    mean, low, high = (np.sqrt(figures) if root else figures).tolist()
    return Interval(mean, low, high, n)


def paired_test(first: FloatVector, second: FloatVector, seed: int = 0, draws: int = 9999) -> PairedTest:
    """Does `first` differ from `second` on the same users? Sign-flip permutation test of the mean difference.

    first, second: (n,) figures aligned by user; users undefined in either are left out. The p-value counts the
    observed labelling among the draws (Phipson and Smyth 2010), so it is never below 1 / (draws + 1).
    """
    if len(first) != len(second):
        raise InputError(f"a paired test needs the same users, got {len(first)} and {len(second)}")
    if draws < 1:
        raise InputError(f"draws must be 1 or more, got {draws}")
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    differences = differences[~np.isnan(differences)]
    interval = bootstrap_interval(differences, seed)
    n = len(differences)
    if n == 0 or not differences.any():
        return PairedTest(interval, 1.0)
    generator = np.random.default_rng(seed)
    # Equal sums reached in another order of addition must count as equal.
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    extreme = 0
    for size in _chunks(n, draws):
        bits = np.frombuffer(generator.bytes(size * -(-n // 8)), np.uint8).reshape(size, -1)
        positive = np.unpackbits(bits, axis=1, count=n).astype(np.float64)
        sums = 2 * (positive @ differences) - differences.sum()
        extreme += int((np.abs(sums) >= observed).sum())
    return PairedTest(interval, (extreme + 1) / (draws + 1))


def _chunks(n: int, draws: int) -> Iterator[int]:
    size = max(1, CHUNK_CELLS // max(n, 1))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def _resampled(n: int, draws: int, seed: int) -> Iterator[FloatMatrix]:
    """(chunk, n) times each user is drawn."""
    if n == 0:
        return
    generator = np.random.default_rng(seed)
    for size in _chunks(n, draws):
        drawn = generator.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _interval(values: FloatVector, means: FloatVector, level: float) -> Interval:
    kept, drawn = values[~np.isnan(values)], means[~np.isnan(means)]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else (np.nan, np.nan)
    return Interval(float(kept.mean()), float(low), float(high), len(kept))
