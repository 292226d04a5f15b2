"""The demonstration over a file of one's own: run again, it does what changed and nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import zhiyin
from zhiyin.app import demo
from zhiyin.app.demo import DemoRequest, prepare_demo
from zhiyin.app.train import TrainRequest
from zhiyin.core.errors import InputError
from zhiyin.core.events import Events
from zhiyin.core.models import Silent
from zhiyin.storage.opening import open_stores

ROWS = 200


@pytest.fixture(autouse=True)
def _one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TrainRequest", lambda **given: TrainRequest(**given | {"models": ("popularity",)}))


@pytest.fixture
def request_(tmp_path: Path) -> DemoRequest:
    events, rng = tmp_path / "shop.csv", np.random.default_rng(0)
    lines = [f"u{rng.integers(12)},i{rng.integers(9)},{1_700_000_000 + 60 * row}" for row in range(ROWS)]
    events.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    return DemoRequest(tmp_path / "home", events, None, lambda _: None, Silent(), lambda _: None)


def add(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def like(store: str) -> None:
    stores = open_stores(store)
    stores.events.append(Events.build(user_id=["guest"], item_id=["i1"], event="like", timestamp=[1_700_100_000_000]))
    stores.close()


def users(store: str) -> list[str]:
    stores = open_stores(store)
    found = [str(user) for user in Events.concat(stores.events.read()).user_id]
    stores.close()
    return found


def test_a_file_that_grows_adds_to_the_store_and_what_the_page_recorded_stays(request_: DemoRequest) -> None:
    assert request_.data is not None
    first = prepare_demo(request_)
    assert first.trained is not None
    like(first.store)
    still = prepare_demo(request_)
    assert (still.imported, still.trained) == (None, None)
    add(request_.data, "u99,i1,1700100000")
    grown = prepare_demo(request_)
    assert grown.imported is not None
    assert grown.imported.files[0].added == 1
    assert grown.trained is not None
    assert (grown.store, grown.artifact) == (first.store, first.artifact)
    assert users(grown.store).count("guest") == 1
    assert len(users(grown.store)) == ROWS + 2


def test_a_file_that_only_looks_new_changes_nothing(request_: DemoRequest) -> None:
    assert request_.data is not None
    prepare_demo(request_)
    os.utime(request_.data, (1, 1))
    touched = prepare_demo(request_)
    assert (touched.imported, touched.trained) == (None, None)
    lines = request_.data.read_text().splitlines()
    request_.data.write_text("\n".join(lines) + "\n\n")
    spaced = prepare_demo(request_)
    assert spaced.imported is not None
    assert spaced.imported.files[0].added == 0
    assert spaced.trained is None


def test_a_catalogue_that_changes_is_trained_on(request_: DemoRequest, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,price\ni1,3\n")
    first = prepare_demo(replace(request_, catalogue=items))
    items.write_text("item_id,price\ni1,4\n")
    second = prepare_demo(replace(request_, catalogue=items))
    assert second.trained is not None
    assert second.store == first.store
    stores = open_stores(second.store)
    assert stores.catalog.read().price[0] == 4
    stores.close()


def test_another_version_trains_again_on_the_same_store(request_: DemoRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.artifacts.folder.KEPT_VERSIONS", 2)
    for version in range(3):
        monkeypatch.setattr(zhiyin, "__version__", f"{version}.0")
        ready = prepare_demo(request_)
        assert ready.trained is not None
        assert ready.imported is None or version == 0
    assert len(list(ready.artifact.glob("*/manifest.json"))) == 2
    assert sorted(path.name for path in request_.home.iterdir()) == [ready.artifact.parent.name]


def test_a_training_that_was_broken_off_is_done_the_next_time(
    request_: DemoRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(demo, "train", lambda request: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare_demo(request_)
    ready = prepare_demo(request_)
    assert ready.imported is not None
    assert ready.imported.files[0].added == 0
    assert ready.trained is not None


def test_a_missing_file_is_named_before_anything_is_made(request_: DemoRequest, tmp_path: Path) -> None:
    absent = tmp_path / "absent.csv"
    for wrong in (replace(request_, data=absent), replace(request_, catalogue=absent)):
        with pytest.raises(InputError, match=r"absent\.csv: no such file"):
            prepare_demo(wrong)
    with pytest.raises(InputError, match="--data"):
        prepare_demo(replace(request_, data=None, catalogue=tmp_path / "shop.csv"))
    assert not request_.home.exists()
