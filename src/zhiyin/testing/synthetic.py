"""Small data sets with a known pattern in them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Features, Query
from zhiyin.core.histories import Histories, History
from zhiyin.core.vocabulary import Vocabulary

START = 1_700_000_000_000
DAY = 86_400_000

NO_FEATURES: tuple[str, ...] = ()


def dataset_of(
    histories: Sequence[History],
    n_items: int,
    *,
    content: Mapping[str, FloatMatrix] | None = None,
    user_features: Features | None = None,
    item_features: Features | None = None,
    rating_scale: tuple[float, float] | None = None,
) -> Dataset:
    """A data set of these histories, user by user; users are called u0, u1, ..., items i0, i1, ..."""
    lengths = [len(history) for history in histories]
    together = Histories(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([h.items for h in histories]).astype(np.int64),
        np.concatenate([h.weights for h in histories]).astype(np.float32),
        np.concatenate([h.ratings for h in histories]).astype(np.float32),
        np.concatenate([h.timestamps for h in histories]).astype(np.int64),
    )
    item_ids = [f"i{row}" for row in range(n_items)]
    columns = (together.indptr, together.items, together.weights, together.ratings, together.timestamps)
    return Dataset(
        users=Vocabulary(f"u{row}" for row in range(len(histories))),
        items=Vocabulary(item_ids),
        histories=together,
        catalog=Catalog.build(item_id=item_ids, title=[f"Item {row}" for row in range(n_items)]),
        user_features=user_features or Features(NO_FEATURES, np.zeros((len(histories), 0), np.float32)),
        item_features=item_features or Features(NO_FEATURES, np.zeros((n_items, 0), np.float32)),
        content=content or {},
        rating_scale=rating_scale,
        now=int(together.timestamps.max()) if len(together.timestamps) else 0,
        fingerprint=hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest(),
    )


@dataclass(frozen=True, eq=False)
class Planted:
    """A data set of taste groups, and questions whose answer is the group.

    groups: (n_items,) the group of each item. queries: user by user, histories that lack some items of the user's
    group. liked: per query, those items. others: per query, items of other groups that the history lacks.
    """

    data: Dataset
    groups: IntVector
    queries: tuple[Query, ...]
    liked: tuple[IntVector, ...]
    others: tuple[IntVector, ...]


def planted_groups(n_users: int = 80, per_group: int = 8, n_groups: int = 4, seed: int = 0) -> Planted:
    """Users like items of one group (weight 1, rating 4 or 5) and a few of the others not (weight -0.5, rating 1 or 2).

    Some events repeat; earlier items of a group are liked more often; content vectors, user features and item features
    tell the group; events are hours to days apart.
    """
    generator = np.random.default_rng(seed)
    n_items = per_group * n_groups
    groups = np.arange(n_items) % n_groups
    appeal = 1.0 / (1.0 + np.arange(per_group)) ** 0.5
    histories, queries, liked, others = [], [], [], []
    taste = np.arange(n_users) % n_groups
    one_hot = np.eye(n_groups, dtype=np.float32)
    for user in range(n_users):
        own, foreign = np.flatnonzero(groups == taste[user]), np.flatnonzero(groups != taste[user])
        good = generator.choice(own, per_group - 2, replace=False, p=appeal / appeal.sum())
        bad = generator.choice(foreign, 2, replace=False)
        items = np.concatenate([good, bad, good[:1]])
        weights = np.concatenate([np.ones(len(good)), np.full(2, -0.5), [1.0]])
        ratings = np.concatenate([generator.integers(4, 6, len(good)), generator.integers(1, 3, 2), [np.nan]])
        order = generator.permutation(len(items))
        times = START + np.cumsum(generator.integers(DAY // 24, 3 * DAY, len(items)))
        history = History(
            items[order], weights[order].astype(np.float32), ratings[order].astype(np.float32), times.astype(np.int64)
        )
        histories.append(history)
        hidden = np.setdiff1d(own, good)
        shown = history.take(np.flatnonzero(~np.isin(history.items, good[-1:])))
        queries.append(Query(shown, int(times[-1]), one_hot[taste[user]]))
        liked.append(np.concatenate([hidden, good[-1:]]))
        others.append(np.setdiff1d(foreign, bad))
    vectors = one_hot[groups] + 0.1 * generator.standard_normal((n_items, n_groups))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    data = dataset_of(
        histories,
        n_items,
        content={"planted": vectors.astype(np.float32)},
        user_features=Features(tuple(f"taste={g}" for g in range(n_groups)), one_hot[taste]),
        item_features=Features(tuple(f"group={g}" for g in range(n_groups)), one_hot[groups]),
        rating_scale=(1.0, 5.0),
    )
    return Planted(data, groups, tuple(queries), tuple(liked), tuple(others))


def reordered(planted: Planted, order: IntVector) -> Planted:
    """The same with item `order[row]` in each row."""
    data, place = planted.data, np.argsort(order)
    items = data.items.ids[order]

    def moved(query: Query) -> Query:
        return replace(query, history=replace(query.history, items=place[query.history.items]))

    return Planted(
        replace(
            data,
            items=Vocabulary(items),
            histories=replace(data.histories, items=place[data.histories.items]),
            catalog=data.catalog.take(order),
            item_features=replace(data.item_features, matrix=data.item_features.matrix[order]),
            content={name: vectors[order] for name, vectors in data.content.items()},
            fingerprint=hashlib.sha256("/".join((data.fingerprint, *items)).encode()).hexdigest(),
        ),
        planted.groups[order],
        tuple(map(moved, planted.queries)),
        tuple(place[rows] for rows in planted.liked),
        tuple(place[rows] for rows in planted.others),
    )
