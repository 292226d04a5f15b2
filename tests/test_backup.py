"""Everything in one file, and back from it, into either database."""

import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import Server
from servers import small_shop
from typer.testing import CliRunner

from zhiyin.app.backup import back_up, restore
from zhiyin.app.loading import load_system
from zhiyin.cli import application
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.errors import InputError, StoreError
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.results import Reason, Recommendations, Recommended
from zhiyin.core.stores import Key, ShownList, Taste
from zhiyin.storage.copying import TABLES, reading
from zhiyin.storage.opening import open_stores

Fresh = Callable[[], str]


@pytest.fixture
def fresh_file(tmp_path: Path) -> Fresh:
    names = iter(range(99))
    return lambda: f"sqlite:///{tmp_path / f'shop-{next(names)}.db'}"


@pytest.fixture
def fresh_postgres(postgres: Server) -> Fresh:
    return postgres.new


@pytest.fixture(params=["fresh_file", "fresh_postgres"])
def fresh(request: pytest.FixtureRequest) -> Fresh:
    found: Fresh = request.getfixturevalue(request.param)
    return found


def fill_shop(url: str) -> None:
    for tenant in ("default", "other"):
        with closing(open_stores(url, tenant)) as stores:
            for name in ("e-1", "e-2", "e-3"):
                stores.events.append(
                    Events.build(
                        user_id=["张伟"],
                        item_id=["i"],
                        event="rating",
                        value=[4.5],
                        event_id=[name],
                        timestamp=[MISSING_TIME],
                    )
                )
            stores.events.erase("nobody")
            stores.catalog.upsert(
                Catalog.build(item_id=["b", "a"], title=["B", None], attributes={"x": ["\ud800", "1"]})
            )
            stores.catalog.remove(["b"])
            stores.users.upsert(Users.build(user_id=["z", "张伟"], attributes={"city": [None, "上海"]}))
            stores.tastes.write("张伟", Taste("noir", "edited"))
            stores.keys.add(Key("k", ("read",), None, "shop", 1, None), "digest")
            served = Recommendations("张伟", [Recommended("i", 1, 0.1, Reason("none"), 1 / 3)], "personal", "r", "m")
            stores.impressions.log([ShownList(served, 7)])


def everything(url: str) -> dict[str, list[Any]]:
    with closing(open_stores(url)) as stores, reading(stores.database) as reader:
        return {name: list(reader.rows(name)) for name in TABLES}


def test_all_tenants_come_back_as_they_were_in_either_database(fresh: Fresh, fresh_file: Fresh, tmp_path: Path) -> None:
    ours, theirs = fresh(), fresh_file()
    fill_shop(ours)
    report = back_up(ours, tmp_path / "one.zip")
    assert report.rows == {name: len(rows) for name, rows in everything(ours).items()}
    assert all(report.rows.values())
    for other in (theirs, fresh()):
        assert restore(tmp_path / "one.zip", other).rows == report.rows
        assert everything(other) == everything(ours)
        with closing(open_stores(other)) as stores:
            last = stores.events.last_sequence()
            stores.events.append(Events.build(user_id=["new"], item_id=["i"]))
            assert stores.events.last_sequence() > last
            assert list(stores.catalog.read().item_id) == ["a"]


def test_a_backup_is_of_one_moment(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    fill_shop(url)
    before = everything(url)
    with closing(open_stores(url)) as stores, reading(stores.database) as reader:
        first = list(reader.rows("events"))
        with closing(open_stores(url)) as others:
            others.events.append(Events.build(user_id=["new"], item_id=["i"]))
            others.users.upsert(Users.build(user_id=["new"]))
        assert (first, list(reader.rows("users"))) == (before["events"], before["users"])


def test_a_trained_system_comes_with_it(tmp_path: Path) -> None:
    store, system = small_shop(tmp_path)
    words = ["--store", store, "--artifact", system, "--out", tmp_path / "shop.zip", "--json"]
    told = CliRunner().invoke(application, ["backup", *map(str, words)])
    assert json.loads(told.stdout)["rows"]["events"] == 180
    shutil.rmtree(system)
    url = f"sqlite:///{tmp_path / 'again.db'}"
    words = [tmp_path / "shop.zip", "--store", url, "--artifact", tmp_path / "again"]
    told = CliRunner().invoke(application, ["restore", *map(str, words)])
    assert "events: 180" in told.stdout
    assert len(load_system(tmp_path / "again").items) == 20


def damaged(file: Path, out: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            changed = change(name, archive.read(name))
            if changed is not None:
                other.writestr(*changed)
    return out


def test_a_backup_with_a_row_an_item_of_what_was_shown_comes_back_with_a_row_a_list(
    fresh: Fresh, fresh_file: Fresh, tmp_path: Path
) -> None:
    ours, theirs = fresh_file(), fresh()
    fill_shop(ours)
    back_up(ours, tmp_path / "new.zip")
    places = [("late", 1, "x"), ("early", 2, "b"), ("early", 1, "a"), ("late", 2, "y")]
    shared = {"tenant": "default", "user_id": "张伟", "rung": "personal", "manifest_id": "m", "timestamp": None}
    rows = [
        {**shared, "recommendation_id": name, "position": place, "item_id": item, "score": np.nan, "propensity": 1.0}
        for name, place, item in places
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def former(name: str, content: bytes) -> tuple[str, bytes]:
        if name == "tables/shown_lists.jsonl":
            return "tables/impressions.jsonl", lines
        if name == "contents.json":
            contents = json.loads(content)
            for each, value in ((contents["rows"], 4), (contents["sha256"], sha256(lines).hexdigest())):
                told = next(key for key in each if "shown_lists" in key)
                del each[told]
                each[told.replace("shown_lists", "impressions")] = value
            return name, json.dumps(contents).encode()
        return name, content

    assert restore(damaged(tmp_path / "new.zip", tmp_path / "old.zip", former), theirs).rows["shown_lists"] == 2
    with closing(open_stores(theirs)) as stores:
        (events,) = stores.impressions.every()
        assert list(zip(events.item_id, events.position, strict=True)) == [("a", 1), ("b", 2), ("x", 1), ("y", 2)]
        assert list(stores.impressions.read("early").item_id) == ["a", "b"]


def test_a_backup_that_is_damaged_is_refused_before_anything_is_written(fresh_file: Fresh, tmp_path: Path) -> None:
    ours, theirs, good = fresh_file(), fresh_file(), tmp_path / "good.zip"
    fill_shop(ours)
    back_up(ours, good)

    def told(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], tuple[str, bytes]]:
        def changed(name: str, content: bytes) -> tuple[str, bytes]:
            if name != "contents.json":
                return name, content
            contents = json.loads(content)
            change(contents)
            return name, json.dumps(contents).encode()

        return changed

    def outside(contents: dict[str, Any]) -> None:
        contents["sha256"]["artifact/../../evil"] = "0"

    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "short.zip").write_bytes(good.read_bytes()[:-100])
    harmed = [
        tmp_path / "text.zip",
        tmp_path / "short.zip",
        tmp_path / "none.zip",
        damaged(good, tmp_path / "1.zip", lambda name, content: (name, content.replace(b"noir", b"nior"))),
        damaged(good, tmp_path / "2.zip", lambda name, content: None if "users" in name else (name, content)),
        damaged(good, tmp_path / "3.zip", told(lambda contents: contents.update(format=9))),
        damaged(good, tmp_path / "4.zip", told(outside)),
        damaged(good, tmp_path / "5.zip", told(lambda contents: contents["rows"].update(secrets=1))),
    ]
    for file in harmed:
        with pytest.raises(InputError, match=file.name):
            restore(file, theirs, tmp_path / "system")
    assert not any(everything(theirs).values())
    assert not (tmp_path / "system").exists()
    with pytest.raises(StoreError, match="not empty"):
        restore(good, ours)
    with pytest.raises(InputError, match="exists"):
        back_up(ours, good)
    with pytest.raises(InputError, match="exists"):
        restore(good, theirs, tmp_path)
