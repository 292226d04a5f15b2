"""What every store keeps to, asked of the one that `open_stores` gives."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from databases import Server
from sqlalchemy import create_engine, insert
from sqlalchemy import text as sql

from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.errors import InputError, NotFoundError, StoreError
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.results import Reason, Recommendations, Recommended
from zhiyin.core.stores import Cursor, Key, ShownList, Stores, Taste, Which
from zhiyin.storage.opening import DatabaseStores, open_stores
from zhiyin.storage.schema import MIGRATIONS, former_impressions, metadata

STORES = Path(__file__).with_name("stores")
"""What earlier versions have written."""

Open = Callable[..., DatabaseStores]


@contextmanager
def _opening(url: str) -> Iterator[Open]:
    stores: list[DatabaseStores] = []

    def open_one(tenant: str = "default") -> DatabaseStores:
        stores.append(open_stores(url, tenant))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Open]:
    with _opening(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def in_postgres(postgres: Server) -> Iterator[Open]:
    with _opening(postgres.new()) as opened:
        yield opened


@pytest.fixture(params=["in_file", "in_postgres"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Opens a tenant of one database, of each kind that there is."""
    found: Open = request.getfixturevalue(request.param)
    return found


def _events(*ids: str, user: str = "u", times: list[int] | None = None) -> Events:
    return Events.build(
        user_id=[user] * len(ids), item_id=[f"i-{i}" for i in ids], event_id=list(ids), timestamp=times, event="click"
    )


def _shown(recommendation: str, now: int = 5) -> ShownList:
    lines = Recommended("a", 1, 0.9, Reason("none")), Recommended("b", 2, np.inf, Reason("popular"), 0.25)
    return ShownList(Recommendations("u", lines, "personal", recommendation, "m"), now)


def test_events_come_back_as_they_went_in(opened: Open) -> None:
    given = Events.build(
        user_id=["u", "用户"],
        item_id=["i", "商品"],
        event=["rating", "play"],
        value=[4.5, np.nan],
        timestamp=[1_700_000_000_000, MISSING_TIME],
        session_id=["s", None],
        event_id=["1", "2"],
        recommendation_id=[None, "r"],
        position=[-1, 3],
    )
    opened().events.append(given)
    (read,) = opened().events.read()
    for name in ("user_id", "item_id", "event", "session_id", "event_id", "recommendation_id"):
        assert list(getattr(read, name)) == list(getattr(given, name))
    assert list(read.timestamp) == list(given.timestamp)
    assert list(read.position) == [-1, 3]
    assert read.value[0] == 4.5
    assert np.isnan(read.value[1])


def test_the_stores_are_stores(opened: Open) -> None:
    stores: Stores = opened()
    assert stores.events.last_sequence() == 0


def test_appending_twice_adds_once_and_keeps_the_first(opened: Open) -> None:
    events = opened().events
    first = events.append(_events("1", "2"))
    second = events.append(_events("2", "3", user="other"))
    assert (first.added, first.known) == (2, 0)
    assert (second.added, second.known) == (1, 1)
    assert list(Events.concat(events.read()).user_id) == ["u", "u", "other"]


def test_an_event_without_an_id_is_given_one_and_repeats_are_kept(opened: Open) -> None:
    events = opened().events
    events.append(Events.build(user_id=["u", "u"], item_id=["i", "i"]))
    assert len(set(Events.concat(events.read()).event_id)) == 2


def test_reading_goes_on_after_a_cursor(opened: Open) -> None:
    events = opened().events
    assert events.last_sequence() == 0
    events.append(_events("1", "2"))
    cursor = Cursor(events.last_sequence())
    assert list(events.read(cursor)) == []
    events.append(_events("3"))
    assert [list(batch.event_id) for batch in events.read(cursor)] == [["3"]]


def test_a_long_log_is_read_in_batches(opened: Open) -> None:
    events = opened().events
    ids = [str(i) for i in range(50_001)]
    events.append(_events(*ids))
    batches = list(events.read())
    assert [len(batch) for batch in batches] == [50_000, 1]
    assert list(Events.concat(batches).event_id) == ids


def test_histories_of_several_are_read_together(opened: Open) -> None:
    events = opened().events
    events.append(_events("late", "early", "untimed", times=[30, 10, MISSING_TIME]))
    events.append(_events("theirs", user="v", times=[40]))
    assert len(events.histories([], 2)) == len(events.histories(["nobody"], 2)) == 0
    found = events.histories(["v", "nobody", "u"], 2)
    assert sorted(zip(found.user_id, found.timestamp, strict=True)) == [("u", 10), ("u", 30), ("v", 40)]
    alone = Events.concat([events.history(user, 2) for user in ("u", "v")])
    for column in ("user_id", "item_id", "event", "value"):
        told = (dict(zip(each.sequence, getattr(each, column), strict=True)) for each in (found, alone))
        np.testing.assert_equal(next(told), next(told))


def test_history_is_the_latest_events_oldest_first(opened: Open) -> None:
    events = opened().events
    events.append(_events("late", "early", "untimed", "late-too", times=[30, 10, MISSING_TIME, 30]))
    events.append(_events("foreign", user="v", times=[40]))
    assert list(events.history("u", 10).event_id) == ["untimed", "early", "late", "late-too"]
    assert list(events.history("u", 2).event_id) == ["late", "late-too"]
    assert len(events.history("nobody", 2)) == 0


def test_events_are_found_and_removed_by_whose_and_what_they_are(opened: Open) -> None:
    events, foreign = opened("one").events, opened("other").events
    events.append(Events.build(user_id=["u", "u", "v"], item_id=["a", "b", "a"], event=["like", "view", "view"]))
    foreign.append(Events.build(user_id=["u"], item_id=["a"], event="like"))

    def items(which: Which, limit: int = 9, since: Cursor | None = None) -> list[str]:
        return list(events.find(which, limit, since).item_id)

    assert items(Which()) == ["a", "b", "a"]
    first = events.find(Which(), 1)
    assert items(Which(), 1, Cursor(int(first.sequence[0]))) == ["b"]
    assert items(Which(event="view")) == ["b", "a"]
    assert items(Which("u", "a", "view")) == []
    assert list(events.find(Which(item_id="a"), 9).user_id) == ["u", "v"]
    assert events.remove(Which("u", "a", "view")) == 0
    assert events.remove(Which("u", event="view")) == 1
    assert events.remove(Which(item_id="a")) == 2
    assert (items(Which()), len(foreign.find(Which(), 9))) == ([], 1)
    with pytest.raises(InputError, match="name one"):
        events.remove(Which(event="like"))


def test_people_are_paged_with_those_known_by_their_events_alone(opened: Open) -> None:
    stores, foreign = opened("one"), opened("other")
    stores.users.upsert(Users.build(user_id=["b", "d"], attributes={"city": ["Wien", None]}))
    stores.events.append(Events.build(user_id=["c", "b", "a", "c"], item_id=["i"] * 4))
    foreign.users.upsert(Users.build(user_id=["0"]))
    first = stores.users.page("", 3)
    assert list(first.user_id) == ["a", "b", "c"]
    assert list(first.attributes["city"]) == [None, "Wien", None]
    assert list(stores.users.page("c", 3).user_id) == ["d"]
    assert len(stores.users.page("d", 3)) == 0
    assert list(stores.users.find(["a", "b", "0"]).user_id) == ["b"]


def test_items_are_paged_found_and_removed(opened: Open) -> None:
    catalog, foreign = opened("one").catalog, opened("other").catalog
    catalog.upsert(Catalog.build(item_id=["c", "a", "b"], title=["C", "A", "B"]))
    foreign.upsert(Catalog.build(item_id=["a"]))
    assert list(catalog.page("", 2).title) == ["A", "B"]
    assert list(catalog.page("b", 2).title) == ["C"]
    assert set(catalog.find(["c", "b", "nothing"]).title) == {"B", "C"}
    before = catalog.revision()
    assert catalog.remove(["b", "nothing"]) == 1
    assert catalog.remove(["b"]) == 0
    assert (list(catalog.read().item_id), list(catalog.page("", 9).item_id)) == (["c", "a"], ["a", "c"])
    assert len(catalog.find(["b"])) == 0
    gone, _ = catalog.changes(before)
    assert (list(gone.item_id), list(gone.title), list(gone.available)) == (["b"], [None], [False])
    catalog.upsert(Catalog.build(item_id=["b"], title=["again"]))
    assert list(catalog.find(["b"]).title) == ["again"]
    assert len(foreign.find(["a"])) == 1


def test_user_counts_by_prefix(opened: Open) -> None:
    events = opened().events
    events.append(_events("1", user="ab"))
    events.append(_events("2", "3", user="a%"))
    events.append(_events("4", user="b"))
    assert events.user_counts(10) == [("a%", 2), ("ab", 1), ("b", 1)]
    assert events.user_counts(10, "a") == [("a%", 2), ("ab", 1)]
    assert events.user_counts(10, "a%") == [("a%", 2)]
    assert events.user_counts(1) == [("a%", 2)]


def test_tenants_do_not_see_each_other(opened: Open) -> None:
    one, other = opened("one"), opened("other")
    one.events.append(_events("1"))
    one.catalog.upsert(Catalog.build(item_id=["i"], title=["t"]))
    one.users.upsert(Users.build(user_id=["u"]))
    one.impressions.log([_shown("r")])
    assert list(other.events.read()) == []
    assert other.events.last_sequence() == 0
    assert other.events.user_counts(5) == []
    assert len(other.events.history("u", 5)) == 0
    assert len(other.catalog.read()) == 0
    assert len(other.users.read()) == 0
    with pytest.raises(NotFoundError):
        other.impressions.read("r")
    assert other.events.append(_events("1")).added == 1
    other.events.erase("u")
    assert one.events.last_sequence() > 0


def test_the_catalogue_replaces_items_by_id(opened: Open) -> None:
    catalog = opened().catalog
    catalog.upsert(Catalog.build(item_id=["b", "a"], title=["B", "A"], attributes={"brand": ["x", None]}))
    written = catalog.upsert(
        Catalog.build(
            item_id=["a", "c"],
            title=["新", None],
            description=["d", None],
            categories=[("x", "y"), ()],
            price=[2.5, np.nan],
            available_from=[7, MISSING_TIME],
            available=[False, True],
        )
    )
    read = catalog.read()
    assert written == 2
    assert list(read.item_id) == ["b", "a", "c"]
    assert list(read.title) == ["B", "新", None]
    assert list(read.categories) == [(), ("x", "y"), ()]
    assert read.price[1] == 2.5
    assert np.isnan(read.price[2])
    assert list(read.available_from) == [MISSING_TIME, 7, MISSING_TIME]
    assert list(read.available) == [True, False, True]
    assert list(read.attributes["brand"]) == ["x", None, None]


def test_changes_are_told_since_a_revision(opened: Open) -> None:
    catalog, foreign = opened("one").catalog, opened("other").catalog
    assert [len(catalog.changes(since)[0]) for since in (None, 0)] == [0, 0]
    catalog.upsert(Catalog.build(item_id=["b", "a", "c"]))
    first = catalog.revision()
    foreign.upsert(Catalog.build(item_id=["a"]))
    catalog.upsert(Catalog.build(item_id=["d"]))
    catalog.upsert(Catalog.build(item_id=["a"], title=["A"]))
    changed, revision = catalog.changes(first)
    assert (list(changed.item_id), list(changed.title)) == (["a", "d"], ["A", None])
    assert revision == catalog.revision() > first
    assert list(catalog.changes(None)[0].item_id) == ["b", "a", "c", "d"]
    assert len(catalog.changes(revision)[0]) == 0


def _shape(path: Path) -> dict[str, list[str]]:
    """Columns and indexes of each table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: sorted(
                str(row[1:])
                for pragma in ("table_info", "index_list")
                for row in connection.execute(f"PRAGMA {pragma}({table})")
            )
            for table in tables
        }


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_an_earlier_version_is_brought_up_to_date(version: int, in_file: Open, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.executescript((STORES / f"version-{version}.sql").read_text("utf-8"))
    stores = in_file()
    (events,) = stores.events.read()
    assert list(events.event_id) == ["e-1", "e-2"]
    assert list(events.user_id) == ["ann", "张伟"]
    before = stores.catalog.revision()
    items, _ = stores.catalog.changes(None)
    assert (list(items.item_id), list(items.title)) == (["i-1", "商品"], ["One", None])
    assert stores.users.attributes("ann") == {"city": "上海"}
    assert list(stores.impressions.read("r-1").item_id) == ["商品"]
    assert stores.tastes.read("ann") == (Taste("noir", "edited") if version >= 3 else None)
    stores.catalog.upsert(Catalog.build(item_id=["i-1", "new"]))
    assert list(stores.catalog.changes(before)[0].item_id) == ["i-1", "new"]
    assert stores.events.append(_events("e-2", "e-3")).added == 1
    stores.close()
    open_stores(f"sqlite:///{tmp_path / 'new.db'}").close()
    assert _shape(tmp_path / "store.db") == _shape(tmp_path / "new.db")


def test_what_a_server_of_before_still_logs_is_brought_up_to_date_too(postgres: Server) -> None:
    url = postgres.new()
    open_stores(url).close()
    former = former_impressions
    row = dict.fromkeys(former.columns.keys(), "x") | {"tenant": "default", "position": 1, "propensity": 1.0}
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sql("DROP TABLE shown_lists"))
        connection.execute(sql("DELETE FROM schema_version WHERE version = 9"))
        former.create(connection)
        connection.execute(insert(former), {**row, "recommendation_id": "early", "score": np.nan, "timestamp": None})
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'impressions'::regclass"
    with ThreadPoolExecutor(1) as pool, engine.connect() as looking, engine.connect() as late:
        late.execute(insert(former), {**row, "recommendation_id": "late", "score": 1.0, "timestamp": 5})
        opening = pool.submit(open_stores, url)
        while not looking.execute(sql(waiting)).scalar():
            looking.rollback()
        looking.rollback()
        late.commit()
        with closing(opening.result()) as stores:
            assert np.isnan(stores.impressions.read("early").score).tolist() == [True]
            assert stores.impressions.read("late").timestamp.tolist() == [5]
    engine.dispose()


def test_users_keep_their_attributes(opened: Open) -> None:
    users = opened().users
    users.upsert(Users.build(user_id=["u", "v"], attributes={"age": ["25", None]}))
    users.upsert(Users.build(user_id=["u"], attributes={"city": ["上海"]}))
    read = users.read()
    assert list(read.user_id) == ["u", "v"]
    assert {name: list(column) for name, column in read.attributes.items()} == {"city": ["上海", None]}


def test_lists_are_logged_once_and_read_in_order(opened: Open) -> None:
    impressions = opened().impressions
    assert impressions.log([_shown("r"), _shown("s", MISSING_TIME)]) == 2
    assert impressions.log([_shown("r", 6), _shown("t")]) == 1
    read = impressions.read("r")
    assert (list(read.item_id), list(read.position)) == (["a", "b"], [1, 2])
    assert (read.score[0], list(read.propensity), list(read.timestamp)) == (0.9, [1.0, 0.25], [5, 5])
    assert np.isnan(read.score[1]), "what is no number in every database is none"
    assert list(impressions.read("s").timestamp) == [MISSING_TIME] * 2


def test_all_that_was_shown_is_read_in_batches(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.storage.shown.AT_ONCE", 2)
    one, other = opened("one").impressions, opened("other").impressions
    for name in "cab":
        one.log([_shown(name, MISSING_TIME if name == "a" else 5)])
    other.log([_shown("d")])
    batches = list(one.every())
    assert [len(batch) for batch in batches] == [4, 2]
    assert [item for batch in batches for item in batch.item_id] == ["a", "b"] * 3
    assert list(batches[0].position) == [1, 2, 1, 2]
    assert list(batches[0].timestamp) == [5, 5, MISSING_TIME, MISSING_TIME]
    assert set(batches[0].event) == {"impression"}


def test_erasure_reaches_every_table_and_the_bytes_on_disk(in_file: Open, tmp_path: Path) -> None:
    stores = in_file()
    secret = "person-to-be-forgotten"  # noqa: S105
    stores.events.append(_events("1", "2", user=secret))
    stores.events.append(_events("3"))
    stores.users.upsert(Users.build(user_id=[secret], attributes={"age": ["25"]}))
    stores.impressions.log([ShownList(replace(_shown("r").served, user_id=secret), 5)])
    stores.tastes.write(secret, Taste(f"{secret} likes noir", "edited"))
    stores.keys.add(Key("k", ("read",), secret, "", 1, 2), "digest")
    last = stores.events.last_sequence()
    assert stores.events.erase(secret).removed == {"events": 2, "users": 1, "shown_lists": 1, "tastes": 1, "keys": 1}
    assert list(Events.concat(stores.events.read()).event_id) == ["3"]
    stores.events.append(_events("4"))
    assert stores.events.last_sequence() > last
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_a_generated_taste_never_takes_the_place_of_an_edited_one(opened: Open) -> None:
    tastes, foreign = opened("one").tastes, opened("other").tastes
    assert tastes.read("u") is None
    assert tastes.write("u", Taste("noir", "generated", "1")) == tastes.read("u") == Taste("noir", "generated", "1")
    assert tastes.write("u", Taste("westerns", "generated", "2")).text == "westerns"
    assert tastes.write("u", Taste("only musicals", "edited")).text == "only musicals"
    assert tastes.write("u", Taste("noir", "generated", "3")) == tastes.read("u") == Taste("only musicals", "edited")
    assert tastes.write("u", Taste("记忆", "edited")).text == "记忆"
    assert foreign.read("u") is None
    foreign.clear("u")
    tastes.clear("u")
    assert tastes.read("u") is None


def test_keys_are_kept_by_their_digests_and_of_one_tenant(opened: Open) -> None:
    keys, foreign = opened("one").keys, opened("other").keys
    shop = Key("a", ("read", "ingest"), None, "the shop", 1, None)
    visitor = Key("b", ("read",), "ann", "", 2, 10)
    keys.add(shop, "digest-a")
    keys.add(visitor, "digest-b")
    assert keys.find("a") == (shop, "digest-a")
    assert keys.find("b") == (visitor, "digest-b")
    assert (keys.every(), foreign.every()) == ([shop], [])
    assert foreign.find("a") is None
    assert [foreign.revoke("a"), keys.revoke("a"), keys.revoke("a")] == [False, True, False]
    assert keys.find("a") == (replace(shop, revoked=True), "digest-a")
    assert [keys.clear(10), foreign.clear(11), keys.clear(11)] == [0, 0, 1]
    assert (keys.find("b"), len(keys.every())) == (None, 1)


def test_a_failed_transaction_leaves_nothing(opened: Open) -> None:
    stores = opened()

    def fail() -> None:
        with stores.transaction():
            stores.events.append(_events("1"))
            stores.users.upsert(Users.build(user_id=["u"]))
            assert stores.events.last_sequence() > 0
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert stores.events.last_sequence() == 0
    assert len(stores.users.read()) == 0
    with stores.transaction():
        stores.events.append(_events("1"))
    assert stores.events.last_sequence() > 0


def test_a_batch_that_breaks_a_rule_is_refused_whole(opened: Open) -> None:
    events = opened().events
    broken = Events.build(user_id=["u", None], item_id=["i", "i"], event_id=["1", "2"])  # type: ignore[list-item]
    with pytest.raises(StoreError, match=r"NOT NULL|not-null"):
        events.append(broken)
    assert events.last_sequence() == 0


def test_a_full_database_refuses_the_batch_and_keeps_the_others(in_file: Open) -> None:
    stores = in_file()
    with stores.database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=200").close()
    stores.events.append(_events(*map(str, range(500))))
    with pytest.raises(StoreError, match="its disk is not full"):
        stores.events.append(_events(*map(str, range(500, 9_000))))
    assert len(Events.concat(stores.events.read())) == 500
    with stores.database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100000").close()
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert stores.events.append(_events(*map(str, range(9_000)))).added == 8_500


def test_many_threads_write_and_read(opened: Open) -> None:
    stores = opened()
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for i in range(20):
                stores.events.append(_events(f"{thread}-{i}", f"shared-{i}", user=str(thread)))
                stores.events.history(str(thread), 5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Events.concat(stores.events.read())) == 6 * 20 + 20


def test_who_reads_after_a_cursor_misses_nothing_that_others_write(opened: Open) -> None:
    reader, writers = opened(), [opened() for _ in range(3)]
    failures: list[BaseException] = []

    def write(which: int, stores: DatabaseStores) -> None:
        try:
            for i in range(15):
                stores.events.append(_events(*(f"{which}-{i}-{row}" for row in range(1 + i % 3))))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=each) for each in enumerate(writers)]
    for thread in threads:
        thread.start()
    found: list[str] = []
    cursor, writing = Cursor(0), True
    while writing:
        writing = any(thread.is_alive() for thread in threads)
        for batch in reader.events.read(cursor):
            found += batch.event_id.tolist()
            cursor = Cursor(int(batch.sequence[-1]))
    assert failures == []
    assert len(found) == len(set(found)) == len(writers) * 30


def test_events_are_added_once_however_many_come_at_a_time(opened: Open) -> None:
    stores = opened()
    many = [str(i) for i in range(1_500)]
    with stores.transaction():
        assert stores.events.append(_events(*many)).added == 1_500
        assert stores.events.append(_events(*many, "new")).added == 1
    assert stores.events.append(_events("new", *many, "newer")).added == 1
    assert list(Events.concat(stores.events.read()).event_id) == [*many, "new", "newer"]


def test_a_title_is_kept_without_what_a_database_cannot_hold(opened: Open) -> None:
    catalog = opened().catalog
    catalog.upsert(Catalog.build(item_id=["a"], title=["A\0B"], attributes={"brand": ["x\0y"]}))
    read = catalog.read()
    assert (read.title[0], read.attributes["brand"][0]) == ("AB", "x\0y")


def test_a_database_that_is_started_again_is_found_again(postgres: Server) -> None:
    with _opening(postgres.new()) as opened:
        stores = opened()
        stores.events.append(_events("1"))
        postgres.stop()
        try:
            with pytest.raises(StoreError, match="check that the database runs"):
                stores.events.append(_events("2"))
        finally:
            postgres.start()
        assert stores.events.append(_events("2", "1")).added == 1
        assert stores.events.last_sequence() > 0


def test_a_database_of_something_else_is_left_alone(postgres: Server) -> None:
    url = postgres.new()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE users (id int)")
    with pytest.raises(StoreError, match="tables users that are not of zhiyin"):
        open_stores(url)
    with psycopg.connect(url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'users'"
        ).fetchone() == (1,)


def test_tables_of_others_stay_and_a_schema_is_kept_to(postgres: Server) -> None:
    url = postgres.new()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA apart")
        connection.execute("CREATE TABLE zhiyin_arriving (id int)")
        connection.execute("CREATE TABLE users (id int)")
    with _opening(f"{url}&options=-csearch_path%3Dapart") as opened:
        assert opened().events.append(_events(*map(str, range(600)))).added == 600
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname !~ 'pg_|info' GROUP BY 1"
        )
        assert dict(found.fetchall()) == {"apart": len(metadata.tables), "public": 2}


def test_many_pages_of_people_are_read_at_once(opened: Open) -> None:
    stores = opened()
    stores.users.upsert(Users.build(user_id=["a"]))
    with ThreadPoolExecutor(40) as pool:
        pages = list(pool.map(lambda _: len(stores.users.page("", 5)), range(80)))
    assert pages == [1] * 80


def test_what_is_read_under_a_lock_stays_until_it_is_written(opened: Open) -> None:
    stores = [opened() for _ in range(4)]
    stores[0].catalog.upsert(Catalog.build(item_id=["a"]))

    def add(number: int) -> None:
        mine = stores[number % 4]
        with mine.transaction("items"):
            (categories,) = mine.catalog.find(["a"]).categories
            mine.catalog.upsert(Catalog.build(item_id=["a"], categories=[(*categories, str(number))]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(20)))
    assert set(stores[0].catalog.find(["a"]).categories[0]) == set(map(str, range(20)))


def test_a_password_is_told_to_nobody(postgres: Server) -> None:
    for url in (
        f"postgresql:///none?host={postgres.folder}&password=hunter2&user=someone",
        f"postgresql://someone:hunter2@/none?host={postgres.folder}",
        "postgres://someone:hunter2@127.0.0.1:1/none",
        "postgresql://someone:hunter2@host:port/none",
    ):
        with pytest.raises(StoreError) as told:
            open_stores(url)
        assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("url", ["mysql://host/db", "store.db", "sqlite:///"])
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="give a SQLite file"):
        open_stores(url)


def test_paths_that_cannot_be_a_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_stores(f"sqlite:///{tmp_path}/none/store.db")
    with pytest.raises(StoreError, match="unable to open"):
        open_stores(f"sqlite:///{tmp_path}")
    with pytest.raises(StoreError, match="name too long"):
        open_stores(f"sqlite:///{'x' * 300}/store.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_stores(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(StoreError, match="tenant"):
        open_stores(f"sqlite:///{tmp_path}/a.db", tenant="")


def test_a_store_of_a_newer_version_is_refused(in_file: Open, tmp_path: Path) -> None:
    in_file().close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, 0)")
    connection.close()
    with pytest.raises(StoreError, match="upgrade zhiyin"):
        in_file()


_RECOVERING = """
import fcntl, os, sys
shared = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(shared, fcntl.LOCK_EX, 3, 120)
head = os.pread(shared, 48, 0)
os.pwrite(shared, bytes(47) + b"x", 0)
print(flush=True)
input()
os.pwrite(shared, head, 0)
"""
"""A process that mends what another one left that was killed in the middle of a commit."""


def test_who_writes_waits_for_a_process_that_mends_the_store(in_file: Open, tmp_path: Path) -> None:
    stores = in_file()
    words = [sys.executable, "-c", _RECOVERING, str(tmp_path / "store.db-shm")]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        writing = pool.submit(stores.events.append, _events("1"))
        with pytest.raises(TimeoutError):
            writing.result(timeout=0.05)
        other.stdin.write(b"\n")
        other.stdin.close()
        assert writing.result().added == 1


def test_who_writes_waits_for_another_process_and_is_told_when_it_does_not_end(
    in_file: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = in_file()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(stores.events.append, _events("1"))
            assert not writing.done()
            other.execute("COMMIT")
            assert writing.result().added == 1
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("zhiyin.storage.sqlite.BUSY_TIMEOUT_MS", 5)
        with pytest.raises(StoreError, match="locked"):
            stores.events.append(_events("2"))
        other.execute("COMMIT")
    assert stores.events.append(_events("2")).added == 1
