"""Preparation and splits keep the truth of sequences and leak nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import InputError
from zhiyin.core.events import Events
from zhiyin.dataset.histories import history_of
from zhiyin.dataset.prepare import prepare
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import (
    fold_splits,
    item_holdout_split,
    leave_one_out_split,
    time_split,
    user_holdout_split,
)

PLAIN = PreparationSettings(encoder=None)


def dataset(events: Events, settings: PreparationSettings = PLAIN, catalog: Catalog | None = None) -> Dataset:
    users = Users.build(user_id=["u0"], attributes={"gender": ["F"]})
    return prepare(events, catalog or Catalog.build(item_id=[]), users, settings, lambda _: {})


def random_events(seed: int, n: int = 400) -> Events:
    rng = np.random.default_rng(seed)
    return Events.build(
        user_id=[f"u{row}" for row in rng.integers(12, size=n)],
        item_id=[f"i{row}" for row in rng.integers(30, size=n)],
        event="rating",
        value=rng.integers(1, 6, size=n).astype(float).tolist(),
        timestamp=rng.integers(1, 10**6, size=n).tolist(),
        sequence=list(range(n)),
    )


def test_repeats_and_order_survive() -> None:
    events = Events.build(
        user_id=["u0"] * 4, item_id=["b", "a", "b", "c"], event="view", timestamp=[3, 1, 2, 3], sequence=[1, 2, 3, 4]
    )
    data = dataset(events)
    assert [data.items.ids[row] for row in data.histories.of(0).items] == ["a", "b", "b", "c"]


def test_serving_reads_events_as_training_does() -> None:
    events = random_events(0)
    data = dataset(events)
    mine = events.take(events.user_id == data.users.ids[3])
    served = history_of(mine, data.items, PLAIN, data.rating_scale)
    trained = data.histories.of(3)
    np.testing.assert_array_equal(served.items, trained.items)
    np.testing.assert_array_equal(served.weights, trained.weights)
    np.testing.assert_array_equal(served.ratings, trained.ratings)


def test_a_query_carries_as_much_history_when_asked_offline_as_when_serving() -> None:
    events, settings = random_events(0), PreparationSettings(encoder=None, history_limit=5)
    data = dataset(events, settings)
    for row, user in enumerate(data.users.ids):
        served = history_of(events.take(events.user_id == user), data.items, settings, data.rating_scale)
        assert len(served) == 5
        np.testing.assert_array_equal(data.query(row).history.items, served.items)
    split = leave_one_out_split(data)
    assert {len(query.history) for query in split.holdout.queries} == {5}
    assert max(map(len, split.holdout.seen)) > 5, "what was seen long ago is still seen"


def test_rating_rule_scale_runs_from_minus_one_to_one() -> None:
    events = Events.build(user_id=["u"] * 3, item_id=["a", "b", "c"], event="rating", value=[1, 3, 5])
    data = dataset(events, PreparationSettings(encoder=None, rating_rule="scale", rating_scale=(1, 5)))
    by_item = dict(zip(data.items.ids[data.histories.items], data.histories.weights.tolist(), strict=True))
    assert by_item == {"a": -1.0, "c": 1.0}


def test_items_of_the_catalogue_can_be_recommended_before_anybody_touched_them() -> None:
    catalog = Catalog.build(item_id=["new", "a"], title=["New", "A"], categories=[["x"], []])
    data = dataset(Events.build(user_id=["u0"], item_id=["a"], event="view"), catalog=catalog)
    assert data.items.ids.tolist() == ["a", "new"]
    assert data.catalog.title.tolist() == ["A", "New"]
    assert data.item_features.names == ("category=x",)
    assert data.user_features.names == ("gender=F",)


def test_minimum_counts_and_nothing_left() -> None:
    events = Events.build(user_id=["u", "u", "v"], item_id=["a", "b", "a"], event="view")
    assert dataset(events, PreparationSettings(encoder=None, min_item_events=2)).items.ids.tolist() == ["a"]
    with pytest.raises(InputError, match="no events"):
        dataset(events, PreparationSettings(encoder=None, min_user_events=9))


def test_fingerprint_follows_content_and_settings() -> None:
    first, second = dataset(random_events(1)), dataset(random_events(1))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != dataset(random_events(2)).fingerprint
    shorter = PreparationSettings(encoder=None, history_limit=3)
    assert first.fingerprint != dataset(random_events(1), shorter).fingerprint


@given(st.integers(0, 1000), st.floats(0.3, 0.9))
def test_time_split_asks_only_about_the_future(seed: int, start: float) -> None:
    data = dataset(random_events(seed))
    split = time_split(data, start)
    assert (split.train.histories.timestamps < split.train.now).all()
    for query, targets, seen in zip(split.holdout.queries, split.holdout.targets, split.holdout.seen, strict=True):
        assert (query.history.timestamps < query.now).all()
        assert not set(targets) & set(seen)
        assert len(targets)


def test_leave_one_out_holds_out_the_last_and_the_last_but_one() -> None:
    events = Events.build(
        user_id=["u"] * 4, item_id=["a", "b", "c", "d"], event="view", timestamp=[1, 2, 3, 4], sequence=[1, 2, 3, 4]
    )
    data = dataset(events)
    test, validation = leave_one_out_split(data), leave_one_out_split(data, "validation")
    assert [data.items.ids[row] for row in test.holdout.targets[0]] == ["d"]
    assert [data.items.ids[row] for row in validation.holdout.targets[0]] == ["c"]
    assert [data.items.ids[row] for row in validation.train.histories.items] == ["a", "b"]


def test_folds_ask_about_every_rating_once() -> None:
    data = dataset(random_events(3))
    splits = list(fold_splits(data, 5, seed=0))
    for split in splits:
        for query, user in zip(split.holdout.queries, split.holdout.users, strict=True):
            assert len(query.history) == split.train.histories.lengths[user]
    assert sum(len(s.train.histories.items) for s in splits) == 4 * len(data.histories.items)


def test_held_out_users_and_items_are_unknown_to_training() -> None:
    data = dataset(random_events(4))
    people = user_holdout_split(data, 0.3, seed=0)
    assert (people.train.histories.lengths[people.holdout.users] == 0).all()
    things = item_holdout_split(data, 0.2, seed=0)
    asked = set(np.concatenate(things.holdout.targets))
    assert not asked & set(things.train.histories.items)


def test_splits_say_what_is_missing() -> None:
    timeless = dataset(Events.build(user_id=["u", "u"], item_id=["a", "b"], event="view"))
    with pytest.raises(InputError, match="timestamp"):
        time_split(timeless, 0.8)
    with pytest.raises(InputError, match="three events"):
        leave_one_out_split(timeless)
    with pytest.raises(InputError, match="ratings"):
        list(fold_splits(timeless, 5, seed=0))
