"""What comes of an item that is taken: one head for each kind of event, over the columns of a ranker.

A head tells how likely whoever takes an item goes on to an event of its kind (a click, a purchase), or where on the
scale a rating will be. Heads learn from what was taken alone, as in the chain of Ma et al. (2018): what is taken comes
of the ranker's own trees, and what comes of it, given that, of the heads. The worth of a candidate is then

    chance that it is taken * sum over kinds of what one is worth * what the head of the kind says
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
import xgboost
from numpy.typing import NDArray

from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.events import RATING
from zhiyin.core.histories import Histories, History, liking
from zhiyin.core.models import Parameters
from zhiyin.models.trees import TreesConfig, as_array, from_array, grown

PREFIX = "ranker.head."

STEADY = 10.0
"""An item of which nothing is known counts as so many that went as it goes in the mean."""


class Heads:
    """trees: by kind, where what came of it differs. constant: by kind, where it is always the same."""

    def __init__(self, trees: Mapping[str, xgboost.Booster], constant: Mapping[str, float]) -> None:
        self.trees, self.constant = dict(trees), dict(constant)

    @classmethod
    def taught(
        cls, table: FloatMatrix, outcomes: Mapping[str, FloatVector], sizes: TreesConfig, seed: int, drawn: float
    ) -> Self:
        """table: (taken, columns). outcomes: by kind (taken,) from 0 to 1, NaN where unknown."""
        trees, constant = {}, {}
        for kind, came in outcomes.items():
            known = ~np.isnan(came)
            told = came[known].astype(np.float32)
            if len(told) and told.min() < told.max():
                trees[kind] = grown(table[known], told, sizes, seed, subsample=drawn, colsample_bytree=drawn)
            elif len(told):
                constant[kind] = float(told[0])
        return cls(trees, constant)

    def telling(self) -> Self | None:
        """None where what comes of all items is the same: then the order is that in which they are taken."""
        return self if self.trees else None

    def worth(self, table: FloatMatrix, of: Mapping[str, float]) -> FloatVector:
        """(rows,) what each row is likely to be worth once it is taken. of: by kind, what one is worth."""
        total = np.zeros(len(table))
        for kind, each in of.items():
            if kind in self.trees:
                total += each * np.asarray(self.trees[kind].inplace_predict(table), np.float64)
            else:
                total += each * self.constant.get(kind, 0.0)
        return total

    def parameters(self) -> Parameters:
        trees = {f"{PREFIX}{kind}": as_array(booster) for kind, booster in self.trees.items()}
        return {**trees, **{f"{PREFIX}{kind}": np.array([value]) for kind, value in self.constant.items()}}

    @classmethod
    def of_parameters(cls, parameters: Parameters) -> Self:
        """Of those among `parameters` that are of heads."""
        mine = {name.removeprefix(PREFIX): array for name, array in parameters.items() if name.startswith(PREFIX)}
        trees = {kind: from_array(array) for kind, array in mine.items() if array.dtype == np.uint8}
        return cls(trees, {kind: float(array[0]) for kind, array in mine.items() if kind not in trees})


def usual_outcomes(data: Dataset, kinds: tuple[str, ...]) -> FloatMatrix:
    """(items, kinds) what came of each item, in the mean over those who took it, drawn to the mean of all items."""
    histories, n_items = data.histories, len(data.items)
    usual = np.zeros((n_items, len(kinds)))
    for column, kind in enumerate(kinds):
        items, came = _came(histories, kind, data.rating_scale)
        mean = float(came.mean()) if len(came) else 0.0
        takers, total = np.bincount(items, minlength=n_items), np.bincount(items, came, n_items)
        usual[:, column] = (STEADY * mean + total) / (STEADY + takers)
    return usual


def of_candidates(
    table: FloatMatrix, usual: FloatMatrix, history: History, scale: tuple[float, float] | None
) -> FloatMatrix:
    """(candidates, columns) what heads read: what the ranker does (`table`), what usually comes of each, and how far
    the user usually goes.
    """
    weights, rated = history.weights[history.weights > 0], ~np.isnan(history.ratings)
    going = float(weights.mean()) if len(weights) else np.nan
    liked = float(liking(history.ratings[rated], scale).mean()) if scale is not None and rated.any() else np.nan
    own = np.broadcast_to((going, liked), (len(table), 2))
    return np.concatenate([table, usual, own], axis=1).astype(np.float32)


def _came(histories: Histories, kind: str, scale: tuple[float, float] | None) -> tuple[NDArray[np.int64], FloatVector]:
    """Items of pairs of user and item, and what came of each; of ratings, of each rating."""
    if kind == RATING and scale is not None:
        rated = ~np.isnan(histories.ratings)
        return histories.items[rated], liking(histories.ratings[rated], scale)
    if histories.kinds is None or kind not in histories.kind_names:
        return np.zeros(0, np.int64), np.zeros(0)
    width = int(histories.items.max(initial=0)) + 1
    pairs, places = np.unique(histories.users * width + histories.items, return_inverse=True)
    of_kind = histories.kinds == histories.kind_names.index(kind)
    return pairs % width, (np.bincount(places, of_kind, len(pairs)) > 0).astype(np.float64)
