"""What a ranker learns from what was shown: a made-up shop whose shelves decide what is seen, and so what is taken.

    python benchmarks/impressions.py [--seeds 0,1,2] [--users N]

A person who looks at an item takes it with a chance that depends on the person's tastes and on the item's worth, and
looks at it with one that has nothing to do with either. People first take what they happen upon; then they are served
lists of ten, drawn from what is popular among their tastes, of which they look at the first place always and at place p
with a chance of 1 / sqrt(p). Both rankers stand over the same parts; one has the log of what was shown, too. A list is
worth what a person who looks at all of it would take: the mean chance of its items, of all users, and what that gains
over the blend, with its 95 % interval over users, of the mean over the seeds. Items that nobody took are in no list.
The best list stands beside them.
"""

import argparse
import os
import sys
from dataclasses import dataclass, replace

import numpy as np

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection
from zhiyin.core.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.exposures import Exposures
from zhiyin.core.histories import History
from zhiyin.core.models import Model
from zhiyin.evaluation.intervals import bootstrap_interval
from zhiyin.evaluation.ranking import top_k
from zhiyin.testing.synthetic import DAY, START, dataset_of

ITEMS, GROUPS, TASTES = 1_000, 20, 3
HAPPENED_UPON, LISTS, PLACES = 60, 12, 10
PARTS = ("ease", "popularity", "item-neighbours")


@dataclass(frozen=True, eq=False)
class Shop:
    """chances: (users, items) that who looks at an item takes it. seen: (items,) of being looked at, adding up to 1."""

    chances: FloatMatrix
    groups: IntVector
    tastes: FloatMatrix
    seen: FloatVector

    @classmethod
    def open(cls, users: int, generator: np.random.Generator) -> "Shop":
        groups, tastes = tastes_of(users, generator)
        worth = generator.standard_normal(ITEMS)
        chances = 1 / (1 + np.exp(3.5 - 3 * tastes[:, groups] - worth))
        shelf = np.exp(1.5 * generator.standard_normal(ITEMS))
        return cls(chances, groups, tastes, shelf / shelf.sum())


def tastes_of(users: int, generator: np.random.Generator) -> tuple[IntVector, FloatMatrix]:
    """(items,) the group of each item, and (users, groups) 1 for those that a user likes."""
    groups = generator.integers(GROUPS, size=ITEMS)
    tastes = np.zeros((users, GROUPS))
    for row in tastes:
        row[generator.choice(GROUPS, TASTES, replace=False)] = 1.0
    return groups, tastes


def visited(shop: Shop, generator: np.random.Generator) -> Dataset:
    """Everybody's events, and what they were shown."""
    likely = shop.seen * shop.chances.mean(axis=0)
    histories, shown = [], []
    for user, chances in enumerate(shop.chances):
        looked = generator.choice(ITEMS, HAPPENED_UPON, replace=False, p=shop.seen)
        taken = looked[generator.random(len(looked)) < chances[looked]]
        items, times = list(taken), list(START + np.sort(generator.integers(30 * DAY, size=len(taken))))
        served = likely * (0.05 + shop.tastes[user, shop.groups])
        for turn in range(LISTS):
            weights = served * ~np.isin(np.arange(ITEMS), items)
            listed = generator.choice(ITEMS, PLACES, replace=False, p=weights / weights.sum())
            moment = START + (30 + turn) * DAY + int(generator.integers(DAY // 2))
            shown += [(user, item, place + 1, moment) for place, item in enumerate(listed)]
            looked_at = generator.random(PLACES) < 1 / np.sqrt(np.arange(PLACES) + 1)
            picked = listed[looked_at & (generator.random(PLACES) < chances[listed])]
            items += list(picked)
            times += [moment + 60_000 * (place + 1) for place in range(len(picked))]
        n = len(items)
        nothing = np.full(n, np.nan, np.float32)
        histories.append(History(np.array(items, np.int64), np.ones(n, np.float32), nothing, np.array(times, np.int64)))
    users, rows, places, moments = np.array(shown, np.int64).T
    indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(shop.chances)))])
    exposures = Exposures(indptr.astype(np.int64), rows, places, moments)
    return replace(dataset_of(histories, ITEMS), exposures=exposures)


def worth(model: Model, data: Dataset, shop: Shop) -> FloatVector:
    """(users,) the mean chance of the items of everybody's list."""
    scores = model.score([data.query(user) for user in range(len(data.users))])
    listed = top_k(np.where(new_to(data), scores, -np.inf), PLACES)
    found: FloatVector = np.take_along_axis(shop.chances, listed, axis=1).mean(axis=1)
    return found


def new_to(data: Dataset) -> BoolMatrix:
    """(users, items) what people have not taken, but somebody else has."""
    new = np.tile(np.bincount(data.histories.items, minlength=ITEMS) > 0, (len(data.users), 1))
    new[data.histories.users, data.histories.items] = False
    return new


def compared(seed: int, users: int) -> dict[str, FloatVector]:
    generator = np.random.default_rng(seed)
    shop = Shop.open(users, generator)
    data = visited(shop, generator)
    best = np.sort(np.where(new_to(data), shop.chances, 0.0), axis=1)[:, -PLACES:]
    found = {"the best list": best.mean(axis=1)}
    for name, kind, told in (
        ("blend", "blend", data),
        ("ranker", "ranker", replace(data, exposures=None)),
        ("ranker that knows what was shown", "ranker", data),
    ):
        model = make_model(kind, {"parts": {part: {} for part in PARTS}, "searched": ()})
        model.fit(told, Selection(seed, protocol="next").run())
        found[name] = worth(model, data, shop)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--users", type=int, default=3_000)
    options = parser.parse_args()
    runs = [compared(int(seed), options.users) for seed in options.seeds.split(",")]
    means = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    for name, found in means.items():
        gain = bootstrap_interval(found - means["blend"])
        spread = np.std([run[name].mean() for run in runs])
        print(f"{name:34} {found.mean():.4f} ± {spread:.4f}  {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    print(f"load average {', '.join(f'{value:.2f}' for value in os.getloadavg())}")
    gain = bootstrap_interval(means["ranker that knows what was shown"] - means["ranker"])
    return 0 if gain.low > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
