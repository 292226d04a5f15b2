"""Preparation and splits keep the truth of sequences and leak nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from zhiyin.app.prepare import prepare_dataset
from zhiyin.cli import application
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.events import MISSING_POSITION, MISSING_TIME, Events, text
from zhiyin.core.results import Reason, Recommendations, Recommended
from zhiyin.core.stores import ShownList
from zhiyin.dataset.cleaning import clean
from zhiyin.dataset.histories import history_of
from zhiyin.dataset.prepare import prepare
from zhiyin.dataset.settings import BotLimits, EventRule, PreparationSettings
from zhiyin.dataset.splits import (
    fold_splits,
    item_holdout_split,
    last_share_split,
    last_visit_split,
    leave_one_out_split,
    next_event_split,
    time_split,
    user_holdout_split,
)
from zhiyin.storage.opening import open_stores

PLAIN = PreparationSettings(encoders=())


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
    events, settings = random_events(0), PreparationSettings(encoders=(), history_limit=5)
    data = dataset(events, settings)
    for row, user in enumerate(data.users.ids):
        served = history_of(events.take(events.user_id == user), data.items, settings, data.rating_scale)
        assert len(served) == 5
        np.testing.assert_array_equal(data.query(row).history.items, served.items)
    split = leave_one_out_split(data)
    assert {len(query.history) for query in split.holdout.queries} == {5}
    assert max(map(len, split.holdout.seen)) > 5, "what was seen long ago is still seen"


def test_the_last_share_of_every_history_is_asked_about_whenever_it_was() -> None:
    data = dataset(random_events(0))
    split = last_share_split(data, 0.2)
    for user, query, targets in zip(split.holdout.users, split.holdout.queries, split.holdout.targets, strict=True):
        whole = data.histories.of(int(user))
        early = whole.take(slice(0, int(0.8 * len(whole))))
        np.testing.assert_array_equal(query.history.items, early.items)
        late = whole.take(slice(len(early), None))
        assert set(targets) == set(late.items[late.weights > 0]) - set(early.items)


def test_the_last_visit_of_all_who_came_back_is_asked_about() -> None:
    day = 86_400_000
    events = Events.build(
        user_id=list("aaaabbcc"),
        item_id=["1", "2", "3", "4", "1", "2", "1", "2"],
        event="like",
        timestamp=[0, 9 * day, 9 * day + 5, 11 * day, 0, 5, MISSING_TIME, 3 * day],
    )
    data = dataset(events)
    holdout = last_visit_split(data).holdout
    asked = {
        data.users.ids[user]: data.items.ids[rows].tolist()
        for user, rows in zip(holdout.users, holdout.targets, strict=True)
    }
    assert asked == {"a": ["4"]}, "b never was away, and when c came first nobody knows"
    longer = last_visit_split(data, pause_days=2).holdout
    assert [data.items.ids[row] for row in longer.targets[0]] == ["2", "3", "4"]
    timeless = dataset(Events.build(user_id=list("aa"), item_id=["1", "2"], event="like"))
    with pytest.raises(InputError, match="needs timestamps"):
        last_visit_split(timeless)


def test_rating_rule_scale_runs_from_minus_one_to_one() -> None:
    events = Events.build(user_id=["u"] * 3, item_id=["a", "b", "c"], event="rating", value=[1, 3, 5])
    data = dataset(events, PreparationSettings(encoders=(), rating_rule="scale", rating_scale=(1, 5)))
    by_item = dict(zip(data.items.ids[data.histories.items], data.histories.weights.tolist(), strict=True))
    assert by_item == {"a": -1.0, "b": 0.0, "c": 1.0}
    alike = dataset(events.take(np.array([2])), PreparationSettings(encoders=(), rating_rule="scale"))
    assert alike.histories.weights.tolist() == [1.0], "where all ratings are alike, nobody dislikes anything"


def test_a_rule_of_one_kind_leaves_the_others_alone() -> None:
    settings = PreparationSettings(events={"play": {"per_value": True}, "dislike": {"seen": False}, "gift": {}})
    assert settings.rule("play") == EventRule(weight=1.0, per_value=True)
    assert settings.rule("dislike") == EventRule(weight=-1.0, seen=False)
    assert settings.rule("gift") == EventRule()
    assert settings.rule("not-interested").weight == -0.5
    assert PreparationSettings(**settings.model_dump()) == settings


def test_what_is_only_looked_at_may_be_asked_about_and_listed() -> None:
    events = Events.build(
        user_id=["u"] * 4,
        item_id=["a", "b", "a", "b"],
        event=["view", "purchase", "purchase", "view"],
        timestamp=[1, 2, 3, 4],
        sequence=[1, 2, 3, 4],
    )
    data = dataset(events, PreparationSettings(encoders=(), events={"view": {"seen": False}}))
    holdout = leave_one_out_split(data, "validation").holdout
    assert [data.items.ids[row] for row in holdout.targets[0]] == ["a"]
    assert [data.items.ids[row] for row in holdout.seen[0]] == ["b"]


def test_training_and_serving_agree_about_rare_items() -> None:
    events = Events.build(
        user_id=["u", "u", "u", "v"], item_id=["a", "b", "c", "a"], event="view", sequence=[1, 2, 3, 4]
    )
    settings = PreparationSettings(encoders=(), min_item_events=2)
    data = dataset(events, settings, Catalog.build(item_id=["b"], title=["B"]))
    served = history_of(events.take(events.user_id == "u"), data.items, settings, None)
    assert [data.items.ids[row] for row in served.items] == ["a", "b"]
    np.testing.assert_array_equal(served.items, data.histories.of(data.users.rows(np.array(["u"], object))[0]).items)


def test_the_fingerprint_knows_everything_that_shapes_the_data() -> None:
    events = Events.build(user_id=["u0"], item_id=["a"], event="view")
    catalogs = (
        Catalog.build(item_id=["a"]),
        Catalog.build(item_id=["a"], price=[2.0]),
        Catalog.build(item_id=["a"], attributes={"colour": ["x"]}),
        Catalog.build(item_id=["a"], attributes={"shape": ["x"]}),
    )
    assert len({dataset(events, catalog=catalog).fingerprint for catalog in catalogs}) == len(catalogs)
    data = dataset(random_events(1))
    parts = (time_split(data, 0.8, 0.9), time_split(data, 0.9), leave_one_out_split(data))
    assert len({part.train.fingerprint for part in parts}) == 3


def test_items_of_the_catalogue_can_be_recommended_before_anybody_touched_them() -> None:
    catalog = Catalog.build(item_id=["new", "a"], title=["New", "A"], categories=[["x"], []])
    data = dataset(Events.build(user_id=["u0"], item_id=["a"], event="view"), catalog=catalog)
    assert data.items.ids.tolist() == ["a", "new"]
    assert data.catalog.title.tolist() == ["A", "New"]
    assert data.item_features.names == ("category=x",)
    assert data.user_features.names == ("gender=F",)


def test_minimum_counts_and_nothing_left() -> None:
    events = Events.build(user_id=["u", "u", "v"], item_id=["a", "b", "a"], event="view")
    assert dataset(events, PreparationSettings(encoders=(), min_item_events=2)).items.ids.tolist() == ["a"]
    with pytest.raises(InputError, match="no events"):
        dataset(events, PreparationSettings(encoders=(), min_user_events=9))


def test_fingerprint_follows_content_and_settings() -> None:
    first, second = dataset(random_events(1)), dataset(random_events(1))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != dataset(random_events(2)).fingerprint
    shorter = PreparationSettings(encoders=(), history_limit=3)
    assert first.fingerprint != dataset(random_events(1), shorter).fingerprint


def acts(user: str, times: list[int], event: str = "view", item: str = "a") -> Events:
    """What `user` did, at `times` in seconds."""
    n = len(times)
    return Events.build(user_id=[user] * n, item_id=[item] * n, event=event, timestamp=[1000 * time for time in times])


HOUR, DAY = 3600, 86_400
BOTS = PreparationSettings(encoders=(), cleaning=("bots",))


def test_bots_are_told_by_what_no_person_reaches() -> None:
    log = Events.concat(
        [
            acts("scraper", [DAY] * 10_001),
            acts("sleepless", [DAY + HOUR * hour for hour in range(21)]),
            acts("fast", list(range(DAY, DAY + 1_001))),
            acts("reader", [DAY + 18 * second for second in range(200)] + [DAY + HOUR * hour for hour in range(12)]),
            acts("wholesaler", [DAY] * 5_000),
            acts("feed", list(range(DAY, DAY + 1_500)), event="impression"),
            Events.build(user_id=["timeless"] * 20_000, item_id=["a"] * 20_000),
        ]
    )
    left, removals = clean(log, BOTS)
    assert dict.fromkeys(left.user_id) == dict.fromkeys(["reader", "wholesaler", "feed", "timeless"])
    assert [(removal.step, removal.users, removal.events) for removal in removals] == [
        ("bots", 1, 10_001),
        ("bots", 1, 21),
        ("bots", 1, 1_001),
    ]
    assert "10,000 events in a day" in removals[0].reason
    assert len(log) == len(left) + sum(removal.events for removal in removals)


def test_all_that_a_bot_did_goes_and_its_limits_can_be_set() -> None:
    log = Events.concat([acts("u", [1, 2, 3, 9 * DAY]), acts("u", [5], event="impression"), acts("v", [1])])
    settings = BOTS.model_copy(update={"bots": BotLimits(seconds_an_hour=2, hours_a_day=1)})
    left, removals = clean(log, settings)
    assert left.user_id.tolist() == ["v"]
    assert [removal.events for removal in removals] == [0, 0, 5]
    assert dataset(log, settings).removals == removals
    with pytest.raises(InputError, match="clean less"):
        dataset(acts("u", [1, 2, 3]), settings)


def test_commands_report_what_cleaning_left_out(tmp_path: Path) -> None:
    store, config = f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "config.toml"
    stores = open_stores(store)
    stores.events.append(Events.concat([random_events(0), acts("scraper", list(range(1_200)))]))
    stores.close()
    config.write_text('[preparation]\ncleaning = ["bots"]\nbots = { events_a_day = 1_000 }\n')
    common = ["--store", store, "--config", str(config)]
    said = "left out, bots: events 1,200, users 1 (more than 1,000 events in a day)"
    trained = CliRunner().invoke(application, ["train", *common, "--model", "popularity", "--out", str(tmp_path / "a")])
    assert said in trained.stderr
    (manifest,) = (tmp_path / "a").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["data"]["removals"][0]["events"] == 1_200
    report = ["evaluate", *common, "--models", "popularity", "--report", str(tmp_path / "report")]
    assert said in CliRunner().invoke(application, report).stderr
    assert "events 1,200, users 1" in (tmp_path / "report" / "report.html").read_text("utf-8")
    config.write_text("[model]\nweight = 1\n")
    refused = CliRunner().invoke(application, report)
    assert isinstance(refused.exception, ConfigError)
    assert "leave out the [model] table" in str(refused.exception)


def test_without_named_steps_nothing_is_cleaned() -> None:
    log = acts("u", [DAY] * 20_000)
    data = dataset(log)
    assert len(data.histories.items) == 20_000
    assert data.removals == ()


def test_of_a_double_click_the_last_counts() -> None:
    log = Events.concat(
        [
            acts("u", [10, 12, 16, 30]),
            acts("u", [11], item="b"),
            acts("u", [13], event="like"),
            acts("v", [14]),
            acts("u", [50, 51], event="play"),
            Events.build(user_id=["u", "u"], item_id=["a", "a"]),
        ]
    )
    rules = {"play": EventRule(per_value=True)}
    settings = PreparationSettings(encoders=(), cleaning=("repeats",), events=rules)
    left, removals = clean(log, settings)
    assert [(removal.reason, removal.users, removal.events) for removal in removals] == [("again within 5 s", 1, 2)]
    known = left.timestamp[left.timestamp > 0] // 1000
    assert known.tolist() == [16, 30, 11, 13, 14, 50, 51], "what adds up by its value, and has no time, is left alone"


@given(st.integers(0, 1000))
def test_serving_leaves_out_the_repeats_that_training_leaves_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    log = Events.build(
        user_id=[f"u{row}" for row in rng.integers(2, size=n)],
        item_id=[f"i{row}" for row in rng.integers(3, size=n)],
        timestamp=rng.integers(1, 100_000, size=n).tolist(),
        sequence=list(range(n)),
    )
    settings = PreparationSettings(encoders=(), cleaning=("bots", "repeats"))
    data = dataset(log, settings)
    for row, user in enumerate(data.users.ids):
        mine = log.take(log.user_id == user)
        served = history_of(mine, data.items, settings, data.rating_scale)
        np.testing.assert_array_equal(served.items, data.histories.of(row).items)
        np.testing.assert_array_equal(served.timestamps, data.histories.of(row).timestamps)
        latest = mine.take(np.argsort(mine.timestamp, kind="stable")[-10:])
        recent = history_of(latest, data.items, settings, data.rating_scale)
        np.testing.assert_array_equal(recent.timestamps, served.last(len(recent)).timestamps)


@given(st.integers(0, 1000), st.floats(0.3, 0.9))
def test_time_split_asks_only_about_the_future(seed: int, start: float) -> None:
    data = dataset(random_events(seed))
    split = time_split(data, start)
    assert (split.train.histories.timestamps < split.train.now).all()
    for query, targets, seen in zip(split.holdout.queries, split.holdout.targets, split.holdout.seen, strict=True):
        assert (query.history.timestamps < query.now).all()
        assert not set(targets) & set(seen)
        assert len(targets)


@given(st.integers(0, 1000), st.floats(0.3, 0.8))
def test_the_next_event_is_asked_about_with_all_that_came_before_it(seed: int, start: float) -> None:
    events = random_events(seed)
    data = dataset(events)
    split = next_event_split(data, start, 0.9)
    histories, end = data.histories, np.quantile(data.histories.timestamps, 0.9, method="lower")
    assert (split.train.histories.timestamps < split.train.now).all()
    assert len(set(split.holdout.users)) == len(split.holdout)
    for row, user in enumerate(split.holdout.users.tolist()):
        query, whole = split.holdout.queries[row], histories.of(user)
        targets = split.holdout.targets[row]
        assert split.train.now <= query.now < end
        assert set(targets) <= set(whole.items[whole.timestamps == query.now])
        earlier = whole.timestamps < query.now
        np.testing.assert_array_equal(query.history.items, whole.items[earlier])
        later = (whole.timestamps > query.now) & (whole.timestamps < end)
        assert set(whole.items[later]) <= {*whole.items[earlier], *whole.items[whole.timestamps == query.now]}


def bought(*lines: tuple[str, str, float]) -> Dataset:
    """Users, items and days."""
    users, items, days = zip(*lines, strict=True)
    times = [int(1000 * DAY * day) for day in days]
    order = range(len(lines))
    return dataset(Events.build(user_id=users, item_id=items, event="purchase", timestamp=times, sequence=order))


def test_a_newcomer_is_asked_about_once_something_is_known() -> None:
    data = bought(*(("old", f"i{day}", day) for day in range(1, 9)), ("new", "a", 9.5), ("new", "b", 10))
    split = next_event_split(data, 0.9)
    assert [data.users.ids[user] for user in split.holdout.users] == ["new"]
    assert [data.items.ids[item] for item in split.holdout.queries[0].history.items] == ["a"]
    assert [data.items.ids[item] for item in split.holdout.targets[0]] == ["b"]


@pytest.mark.parametrize(("clock", "known", "asked"), [(0.0, ["a", "b", "c"], ["d"]), (0.4, ["a", "b"], ["c", "d"])])
def test_lines_of_one_order_are_asked_about_together(clock: float, known: list[str], asked: list[str]) -> None:
    """Where only days are known, nobody but the log's order says what came first: there it counts."""
    data = bought(*(("u", item, day + clock) for item, day in [("a", 1), ("b", 1), ("c", 2), ("d", 2)]))
    split = next_event_split(data, 0.5)
    assert [data.items.ids[item] for item in split.holdout.targets[0]] == asked
    assert [data.items.ids[item] for item in split.holdout.queries[0].history.items] == known


def test_an_item_that_comes_again_is_not_the_next_one() -> None:
    data = bought(*(("u", item, day + 0.5) for day, item in enumerate("abcdea")))
    split = next_event_split(data, 0.6)
    assert [data.items.ids[item] for item in split.holdout.targets[0]] == ["e"]


def test_questions_know_what_was_shown_since_the_last_event() -> None:
    """By the log itself and by the lists that were served; of unknown times, users and items nothing is told."""
    events = Events.build(
        user_id=["u"] * 9,
        item_id=["a", "b", "c", "d", "e", "a", "e", "d", "f"],
        event=["purchase"] * 4 + ["impression"] * 5,
        timestamp=[10, 20, 30, 40, 15, 32, 33, 34, 45],
        position=[MISSING_POSITION] * 4 + [1, 2, 1, 3, 1],
        sequence=list(range(1, 10)),
    )
    served = Events.build(
        user_id=["u", "u", "stranger", "u"],
        item_id=["e", "b", "a", "unheard-of"],
        event="impression",
        timestamp=[38, MISSING_TIME, 35, 36],
        position=[4, 1, 1, 1],
    )
    catalog = Catalog.build(item_id=["e", "f"])
    data = prepare(events, catalog, Users.build(user_id=[]), PLAIN, lambda _: {}, served=[served])
    assert [data.items.ids[row] for row in data.histories.of(0).items] == ["a", "b", "c", "d"]
    for split in (next_event_split(data, 0.8), leave_one_out_split(data)):
        (shown,) = split.holdout.take(np.array([0])).shown
        places = dict(zip(data.items.ids[shown.items], shown.places.tolist(), strict=True))
        assert places == {"a": 2, "d": 3, "e": 4}, "what was shown twice stands where it was shown last"


def test_lists_that_were_served_are_known_as_shown(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'events.db'}"
    stores = open_stores(store)
    stores.events.append(random_events(0))
    lines = [Recommended(item, rank, 1.0, Reason("none")) for rank, item in enumerate(("i1", "i2", "i3"), start=1)]
    stores.impressions.log([ShownList(Recommendations("u1", lines, "personal", "r", "m"), 7)])
    stores.close()
    data = prepare_dataset(store, PLAIN)
    assert data.exposures is not None
    user, items = int(data.users.rows(np.array(["u1"], object))[0]), data.items.rows(text(["i1", "i2", "i3"]))
    shown = data.exposures.between(user, 0, 10)
    assert dict(zip(shown.items, shown.places, strict=True)) == dict(zip(items, [1, 2, 3], strict=True))


def test_where_nothing_tells_what_was_shown_no_question_does() -> None:
    assert leave_one_out_split(dataset(random_events(0))).holdout.shown == ()


def test_leave_one_out_holds_out_the_last_and_the_last_but_one() -> None:
    events = Events.build(
        user_id=["u"] * 4, item_id=["a", "b", "c", "d"], event="view", timestamp=[1, 2, 3, 4], sequence=[1, 2, 3, 4]
    )
    data = dataset(events)
    test, validation = leave_one_out_split(data), leave_one_out_split(data, "validation")
    assert [data.items.ids[row] for row in test.holdout.targets[0]] == ["d"]
    assert [data.items.ids[row] for row in validation.holdout.targets[0]] == ["c"]
    assert [data.items.ids[row] for row in validation.train.histories.items] == ["a", "b"]


@pytest.mark.parametrize("rule", ["interest", "scale"])
@given(seed=st.integers(0, 50), n=st.integers(5, 60))
def test_folds_ask_about_every_rating_once(rule: Literal["interest", "scale"], seed: int, n: int) -> None:
    """Repeats, dislikes and users whose ratings all fall into one fold are asked about like all others."""
    data = dataset(random_events(seed, n), PreparationSettings(encoders=(), rating_rule=rule))
    asked = []
    for split in fold_splits(data, 5, seed=0):
        for row, user in enumerate(split.holdout.users):
            assert len(split.holdout.queries[row].history) == split.train.histories.lengths[user]
            pairs = zip(split.holdout.targets[row], split.holdout.ratings[row], strict=True)
            asked += [(user, item, rating) for item, rating in pairs]
    events = data.histories
    assert sorted(asked) == sorted(zip(events.users, events.items, events.ratings, strict=True))
    assert len(asked) == n


def test_events_of_unknown_time_only_train() -> None:
    events = random_events(2)
    times = events.timestamp.copy()
    times[::5] = MISSING_TIME
    split = time_split(dataset(replace(events, timestamp=times)), 0.8)
    assert (split.train.histories.timestamps == MISSING_TIME).sum() == 80
    times[1::2] = MISSING_TIME
    with pytest.raises(InputError, match="240 of 400 events have none"):
        time_split(dataset(replace(events, timestamp=times)), 0.8)


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


def test_questions_know_what_came_of_their_answers_while_they_were_asked() -> None:
    """What was clicked last is bought and rated soon after, and sent back too late to be told."""
    days = [1, 2, 3, 4, 5, 5.1, 5.2, 5.3, 9, 9.1]
    events = Events.build(
        user_id=["u"] * 8 + ["v", "u"],
        item_id=["a", "b", "c", "c", "d", "d", "d", "d", "a", "d"],
        event=["click", "click", "click", "rating", "click", "purchase", "rating", "rating", "click", "return"],
        value=[np.nan] * 3 + [1] + [np.nan] * 2 + [3, 4] + [np.nan] * 2,
        timestamp=[int(DAY * (1000 + day)) for day in days],
        sequence=list(range(1, 11)),
    )
    data = dataset(events)
    holdout = next_event_split(data, 0.4, 0.9).holdout.take(np.array([0]))
    assert [data.items.ids[item] for item in holdout.targets[0]] == ["d"]
    came = dict(zip(holdout.kinds, holdout.outcomes[0][0], strict=True))
    assert came == {"click": 1.0, "purchase": 1.0, "rating": 1.0, "return": 0.0}


def test_an_answer_that_nobody_rated_may_be_liked_or_not() -> None:
    kinds = ["rating", "rating", "click"]
    events = Events.build(
        user_id=["u"] * 3, item_id=["a", "b", "c"], event=kinds, value=[1, 5, np.nan], sequence=[1, 2, 3]
    )
    holdout = leave_one_out_split(dataset(events)).holdout
    assert holdout.kinds == ("rating", "click")
    np.testing.assert_array_equal(holdout.outcomes[0], [[np.nan, 1.0]])
