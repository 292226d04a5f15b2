"""What accuracy does not say: how much of the catalogue is shown, how surprising and how varied lists are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntMatrix, IntVector
from zhiyin.core.dataset import Holdout
from zhiyin.core.errors import InputError
from zhiyin.core.histories import Histories
from zhiyin.evaluation.ranking import mean_defined

CHUNK_USERS = 512


@dataclass(frozen=True, eq=False)
class BeyondResult:
    """per_user: "novelty" and, with vectors, "diversity" -> (n,), NaN where undefined.

    totals: the means of those, and "coverage", "gini" and "popularity_lift" of all lists together.
    """

    per_user: Mapping[str, FloatVector]
    totals: Mapping[str, float]


def evaluate_beyond(
    lists: IntMatrix,
    holdout: Holdout,
    popularity: IntVector,
    n_users: int,
    vectors: FloatMatrix | None = None,
) -> BeyondResult:
    """All figures of `lists` (n, k), aligned with `holdout`; rows below zero are empty places.

    popularity: (n_items,) users of each item among `n_users`, as `item_popularity` counts them.
    vectors: (n_items, dim) for diversity, from content or from one model for all models compared.
    """
    if len(lists) != len(holdout):
        raise InputError(f"{len(lists)} lists for {len(holdout)} queries of hold-out {holdout.name!r}")
    n_items = len(popularity)
    per_user = {"novelty": novelty(lists, popularity, n_users)}
    if vectors is not None:
        per_user["diversity"] = intra_list_diversity(lists, vectors)
    totals = {name: mean_defined(values) for name, values in per_user.items()} | {
        "coverage": coverage(lists, n_items),
        "gini": gini(exposure(lists, n_items)),
        "popularity_lift": popularity_lift(lists, holdout, popularity),
    }
    return BeyondResult(per_user, totals)


def item_popularity(histories: Histories, n_items: int) -> IntVector:
    """(n_items,) number of different users with each item in their history."""
    pairs = np.unique(histories.users * n_items + histories.items)
    return np.bincount(pairs % n_items, minlength=n_items).astype(np.int64) if n_items else np.empty(0, np.int64)


def exposure(lists: IntMatrix, n_items: int) -> IntVector:
    """(n_items,) number of lists that hold each item."""
    return np.bincount(lists[lists >= 0], minlength=n_items).astype(np.int64)


def coverage(lists: IntMatrix, n_items: int) -> float:
    """Share of the items that appear in at least one list."""
    return float((exposure(lists, n_items) > 0).mean()) if n_items else float("nan")


def gini(counts: IntVector) -> float:
    """Gini index of (n,) counts: 0 where all are equal, towards 1 where one has everything."""
    n, total = len(counts), counts.sum()
    if n == 0 or total == 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * np.sort(counts)).sum() / (n * total))


def novelty(lists: IntMatrix, popularity: IntVector, n_users: int) -> FloatVector:
    """(n,) mean self-information of each list, log2(users / users of the item), in bits (Zhou et al. 2010).

    An item that nobody knows yet counts as if one user knew it.
    """
    information = np.log2(max(n_users, 1) / np.maximum(popularity, 1))
    return _mean_listed(lists, information)


def intra_list_diversity(lists: IntMatrix, vectors: FloatMatrix) -> FloatVector:
    """(n,) mean cosine distance over the pairs of each list (Ziegler et al. 2005), 0 for copies of one item.

    Items whose vector is zero have no place in space and are left out; NaN where fewer than two remain.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.vstack([vectors / np.where(lengths > 0, lengths, 1), np.zeros((1, vectors.shape[1]))])
    placed = np.append(lengths[:, 0] > 0, False)
    result = np.full(len(lists), np.nan)
    for start in range(0, len(lists), CHUNK_USERS):
        chunk = np.where(lists[start : start + CHUNK_USERS] >= 0, lists[start : start + CHUNK_USERS], len(vectors))
        count = placed[chunk].sum(axis=1)
        # The squared length of a sum of unit vectors is their number plus twice the sum of all pairs' cosines.
        squared = (unit[chunk].sum(axis=1, dtype=np.float64) ** 2).sum(axis=1)
        pairs = count * (count - 1)
        similarity = (squared - count) / np.where(pairs > 0, pairs, 1)
        result[start : start + CHUNK_USERS] = np.where(pairs > 0, 1 - similarity, np.nan)
    return result


def popularity_lift(lists: IntMatrix, holdout: Holdout, popularity: IntVector) -> float:
    """How much more popular lists are than what their users chose before (Abdollahpouri et al. 2019).

    0: as popular as the histories; 1: twice as popular. NaN where no user has a history.
    """
    listed = _mean_listed(lists, popularity.astype(np.float64))
    chosen = np.array([popularity[q.history.items].mean() if len(q.history) else np.nan for q in holdout.queries])
    both = ~np.isnan(listed) & ~np.isnan(chosen)
    if not both.any() or chosen[both].sum() == 0:
        return float("nan")
    return float(listed[both].mean() / chosen[both].mean() - 1)


def _mean_listed(lists: IntMatrix, values: FloatVector) -> FloatVector:
    filled = lists >= 0
    count = filled.sum(axis=1)
    total = np.where(filled, np.append(values, 0.0)[lists], 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
