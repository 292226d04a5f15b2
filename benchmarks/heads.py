"""What heads of a ranker gain where a purchase is worth more than a click: a made-up shop that has both, and ratings.

    python benchmarks/heads.py [--seeds 0,1,2] [--users N] [--worth click=1,purchase=10,rating=2]

A person clicks on an item with a chance that depends on the person's tastes and on how it looks, buys what was clicked
with one that depends on how good the item is and on the person, and rates what was bought by how good it is. How an
item looks says nothing of how good it is. The parts, and what people happened upon, are the same for all; --worth says
what one event of each kind is worth, of ratings the best one. A list of ten is worth what a person who looks at all of
it would bring: the mean of its items, of all users, and what that gains over the ranker without heads, with its 95 %
interval over users, of the mean over the seeds; besides the chances of a click and of a purchase. Once more, the kinds
of event count for what they are worth in the parts themselves.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from impressions import ITEMS, PLACES, new_to, tastes_of

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection
from zhiyin.core.arrays import FloatMatrix, FloatVector, IntMatrix
from zhiyin.core.dataset import Dataset
from zhiyin.core.histories import History
from zhiyin.core.models import Model
from zhiyin.evaluation.intervals import bootstrap_interval
from zhiyin.evaluation.ranking import top_k
from zhiyin.testing.synthetic import DAY, START, dataset_of

LOOKS = 120
PARTS = ("ease", "popularity", "item-neighbours")
KINDS = ("click", "purchase", "rating")
CLICK, PURCHASE, RATING = range(len(KINDS))
BEST = 5
MINUTE = 60_000
PLAIN, WEIGHTED, HEADS = "ranker", "ranker, events count what they are worth", "ranker with heads"


@dataclass(frozen=True, eq=False)
class Shop:
    """clicks, purchases: (users, items) chances, of a purchase after a click. ratings: (items,) mean ones, 1 to 5."""

    clicks: FloatMatrix
    purchases: FloatMatrix
    ratings: FloatVector

    @classmethod
    def open(cls, users: int, generator: np.random.Generator) -> "Shop":
        groups, tastes = tastes_of(users, generator)
        looks, good, thrift = (generator.standard_normal(n) for n in (ITEMS, ITEMS, users))
        wanted = tastes[:, groups]
        clicks = 1 / (1 + np.exp(3.0 - 2.5 * wanted - looks))
        purchases = 1 / (1 + np.exp(2.5 - wanted - 1.5 * good + thrift[:, None]))
        return cls(clicks, purchases, 1 + (BEST - 1) / (1 + np.exp(-good)))

    def worth(self, of: Mapping[str, float]) -> FloatMatrix:
        """(users, items) what who looks at an item is likely to bring."""
        liking = (self.ratings - 1) / (BEST - 1)
        come = of.get("click", 0) + of.get("purchase", 0) * self.purchases + of.get("rating", 0) * liking
        return np.asarray(self.clicks * come)


def visited(shop: Shop, weights: Mapping[str, float], generator: np.random.Generator) -> Dataset:
    """Everybody's events, which weigh what `weights` say."""
    histories, kinds = [], []
    for clicks, purchases in zip(shop.clicks, shop.purchases, strict=True):
        looked = generator.choice(ITEMS, LOOKS, replace=False)
        moments = START + np.sort(generator.choice(60 * DAY // (4 * MINUTE), LOOKS, replace=False)) * 4 * MINUTE
        clicked = generator.random(LOOKS) < clicks[looked]
        bought = clicked & (generator.random(LOOKS) < purchases[looked])
        rated = bought & (generator.random(LOOKS) < 0.5)
        stars = np.clip(np.rint(shop.ratings[looked] + generator.standard_normal(LOOKS)), 1, BEST)
        of_kind = np.concatenate([np.full(did.sum(), kind) for kind, did in enumerate((clicked, bought, rated))])
        items = np.concatenate([looked[did] for did in (clicked, bought, rated)])
        times = np.concatenate([moments[did] + kind * MINUTE for kind, did in enumerate((clicked, bought, rated))])
        ratings = np.concatenate([np.full(clicked.sum() + bought.sum(), np.nan), stars[rated]]).astype(np.float32)
        order = np.argsort(times, kind="stable")
        weighing = np.array([weights[KINDS[kind]] for kind in of_kind], np.float32)
        histories.append(History(items[order], weighing[order], ratings[order], times[order]))
        kinds.append(of_kind[order])
    data = dataset_of(histories, ITEMS, rating_scale=(1.0, float(BEST)))
    told = replace(data.histories, kinds=np.concatenate(kinds).astype(np.int32), kind_names=KINDS)
    return replace(data, histories=told)


def lists(model: Model, data: Dataset) -> IntMatrix:
    """(users, places) everybody's list."""
    scores = model.score([data.query(user) for user in range(len(data.users))])
    return top_k(np.where(new_to(data), scores, -np.inf), PLACES)


def compared(seed: int, users: int, of: Mapping[str, float]) -> dict[str, dict[str, FloatVector]]:
    """By name, (users,) worth and chances of the items of everybody's list."""
    shop = Shop.open(users, np.random.default_rng(seed))
    truth = {"worth": shop.worth(of), "click": shop.clicks, "purchase": shop.clicks * shop.purchases}
    alike, by_worth = {"click": 0.5, "purchase": 1.0, "rating": 1.0}, {kind: of.get(kind, 0.0) for kind in KINDS}
    found: dict[str, dict[str, FloatVector]] = {}
    for name, kind, weights, more in (
        ("blend", "blend", alike, {}),
        (PLAIN, "ranker", alike, {}),
        (WEIGHTED, "ranker", by_worth, {}),
        (HEADS, "ranker", alike, {"worth": of}),
    ):
        data = visited(shop, weights, np.random.default_rng(seed + 1_000))
        model = make_model(kind, {"parts": {part: {} for part in PARTS}, "searched": (), **more})
        model.fit(data, Selection(seed, protocol="next").run())
        listed = lists(model, data)
        found[name] = {what: np.take_along_axis(each, listed, axis=1).mean(axis=1) for what, each in truth.items()}
    best = top_k(np.where(new_to(data), truth["worth"], -np.inf), PLACES)
    found["the best list"] = {what: np.take_along_axis(each, best, axis=1).mean(axis=1) for what, each in truth.items()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--users", type=int, default=8_000)
    parser.add_argument("--worth", default="click=1,purchase=10,rating=2")
    options = parser.parse_args()
    of = {kind: float(each) for kind, _, each in (told.partition("=") for told in options.worth.split(","))}
    runs = [compared(int(seed), options.users, of) for seed in options.seeds.split(",")]
    means = {
        name: {what: np.mean([run[name][what] for run in runs], axis=0) for what in figures}
        for name, figures in runs[0].items()
    }
    for name, found in means.items():
        gain = bootstrap_interval(found["worth"] - means[PLAIN]["worth"])
        chances = "  ".join(f"{what} {found[what].mean():.4f}" for what in ("click", "purchase"))
        print(f"{name:40} {found['worth'].mean():.4f}  {chances}  {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    print(f"load average {', '.join(f'{value:.2f}' for value in os.getloadavg())}")
    return 0 if bootstrap_interval(means[HEADS]["worth"] - means[PLAIN]["worth"]).low > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
