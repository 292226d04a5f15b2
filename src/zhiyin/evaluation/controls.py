"""Does a model read the person? Its answers from other users' histories, and how much its lists differ."""

from dataclasses import dataclass, replace

import numpy as np

from zhiyin.core.dataset import Holdout
from zhiyin.core.errors import InputError
from zhiyin.core.models import Model
from zhiyin.evaluation.ranking import top_k


@dataclass(frozen=True)
class DifferentLists:
    """lists: different ones among those of `users` users."""

    lists: int
    users: int


def swapped(holdout: Holdout, seed: int = 0) -> Holdout:
    """`holdout` with each user's history and features given to another user; no one keeps their own.

    Targets, `seen` and the time of the question stay. A model that reads the person does worse so fed; one that
    does as well knows no more than what everybody likes. Raises `InputError` for fewer than two users.
    """
    n = len(holdout)
    if n < 2:
        raise InputError(f"histories can be swapped among two users or more; hold-out {holdout.name!r} has {n}")
    order = np.random.default_rng(seed).permutation(n)
    giver = np.empty(n, np.int64)
    giver[order] = np.roll(order, 1)
    queries = tuple(
        replace(query, history=holdout.queries[other].history, user_features=holdout.queries[other].user_features)
        for query, other in zip(holdout.queries, giver.tolist(), strict=True)
    )
    return replace(holdout, name=f"{holdout.name}, other users' histories", queries=queries)


def different_lists(model: Model, holdout: Holdout, users: int = 50, k: int = 10) -> DifferentLists:
    """The top-`k` lists of the first `users` users before seen items are taken out; order counts."""
    queries = holdout.queries[:users]
    lists = top_k(np.asarray(model.score(queries)), k) if queries else np.empty((0, k), np.int64)
    return DifferentLists(len(np.unique(lists, axis=0)), len(queries))
