"""Items that come after training: in lists at once, found, counted when clicked, in their share of the places."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import pytest
from doubles import NOW, MemoryImpressions, MemoryStores, films_stores, films_system
from hypothesis import given
from hypothesis import strategies as st
from test_web import Client

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.service import ItemsRefusedError, RecommendRequest, Service, WordsRequest
from zhiyin.app.serving.exposure import Exposure, places_of
from zhiyin.app.settings import read_settings
from zhiyin.app.system import System
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError
from zhiyin.core.events import Events
from zhiyin.core.models import Content, Run
from zhiyin.core.results import Manifest, Recommendations
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders.hashed import HashedNgrams
from zhiyin.retrieval.eligibility import Eligibility
from zhiyin.storage.opening import open_stores
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics
from zhiyin.web.application import create_app

WORDS = {
    "sea": ["harbour", "sailor", "lighthouse", "tide", "island", "pirate", "whale", "anchor", "storm", "reef"],
    "space": ["rocket", "planet", "comet", "orbit", "astronaut", "galaxy", "nebula", "meteor", "station", "moon"],
}
MODELS: dict[str, dict[str, Any]] = {
    "content": {},
    "text-neighbours": {},
    "attentive": {"encoders": ("hashed-ngrams",), "dim": 16, "epochs": 25, "learning_rate": 0.01, "length": 12},
}
SEA, SPACE = "sea-user-0", "space-user-0"


def tale(topic: str, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS[topic], 6, replace=False))


def item(item_id: str, topic: str, **columns: Any) -> Catalog:
    given: dict[str, Any] = {
        "title": f"A tale of {item_id}",
        "description": " ".join(WORDS[topic]),
        "categories": (topic,),
    }
    rows: dict[str, Any] = {name: [value] for name, value in (given | columns).items()}
    return Catalog.build(item_id=[item_id], **rows)


def shop() -> Catalog:
    rows = [(topic, row) for topic in WORDS for row in range(15)]
    return Catalog.build(
        item_id=[f"{topic}-{row}" for topic, row in rows],
        title=[tale(topic, row).title() for topic, row in rows],
        description=[tale(topic, 50 + row) for topic, row in rows],
        categories=[(topic,) for topic, _ in rows],
    )


def likes() -> Events:
    pairs = [
        (f"{topic}-user-{user}", f"{topic}-{row}", NOW - 1000 * (user + row))
        for topic in WORDS
        for user in range(12)
        for row in np.random.default_rng(user).permutation(15)[:6].tolist()
    ]
    users, items, times = zip(*pairs, strict=True)
    return Events.build(user_id=users, item_id=items, event="like", timestamp=times)


@cache
def system_of(name: str = "content") -> System:
    preparation = PreparationSettings(encoders=("hashed-ngrams",))
    with TemporaryDirectory() as folder:
        stores = open_stores(f"sqlite:///{folder}/shop.db")
        stores.catalog.upsert(shop())
        stores.events.append(likes())
        stores.close()
        data = prepare_dataset(f"sqlite:///{folder}/shop.db", preparation)
    model, fallback = make_model(name, MODELS[name]), make_model("popularity")
    for fitted in (model, fallback):
        fitted.fit(data, Run(PlainTrainer(), PlainStatistics(), seed=3))
    manifest = Manifest(1, "tales-1", "2026-01-01T00:00:00Z", "test", {}, {}, {}, {}, {}, {})
    return System(manifest, model, fallback, data.items, data.catalog, preparation, None)


@pytest.fixture
def stores() -> MemoryStores:
    stores = MemoryStores()
    stores.catalog.upsert(shop())
    stores.events.append(likes())
    return stores


@pytest.fixture
def service(stores: MemoryStores) -> Service:
    return Service(system_of(), stores, clock=lambda: NOW, new_items=0)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are given to the encoder from here on."""
    texts: list[str] = []
    encode = HashedNgrams.encode

    def noted(self: HashedNgrams, contents: Sequence[Content]) -> FloatMatrix:
        texts.extend(content.text or "" for content in contents)
        return encode(self, contents)

    monkeypatch.setattr(HashedNgrams, "encode", noted)
    return texts


def ids(served: Recommendations) -> list[str]:
    return [line.item_id for line in served.items]


def listed(service: Service, user_id: str, n: int = 5, **asked: Any) -> list[str]:
    return ids(service.recommend(RecommendRequest(user_id, n, **asked)))


@pytest.mark.parametrize("name", MODELS)
def test_an_added_item_is_in_the_lists_that_it_fits(stores: MemoryStores, name: str) -> None:
    service = Service(system_of(name), stores, clock=lambda: NOW, new_items=0)
    assert "tale" not in listed(service, SEA, 100)
    added = service.add_items(item("tale", "sea"))
    assert (added.written, added.recommendable) == (1, 1)
    assert "tale" in listed(service, SEA, 8)
    assert "tale" not in listed(service, SPACE, 8)
    assert [line.reason.kind for line in service.recommend(RecommendRequest(SEA, 100)).items if line.item_id == "tale"]


@pytest.mark.parametrize("name", ["content", "attentive"])
def test_an_added_item_is_near_its_like_and_found_by_its_words(stores: MemoryStores, name: str) -> None:
    service = Service(system_of(name), stores, clock=lambda: NOW)
    service.find(WordsRequest("whale"))
    service.add_items(item("tale", "sea", title="The Cartographer's Daughter"))
    assert service.item("tale").title == "The Cartographer's Daughter"
    assert service.find(WordsRequest("cartographer", n=1))[0][0].item_id == "tale"
    near = [view.item_id for view, _ in service.similar("tale", 5)]
    assert all(item_id.startswith("sea-") for item_id in near)
    assert any("tale" in {view.item_id for view, _ in service.similar(item_id, 16)} for item_id in near)


@pytest.mark.parametrize("name", MODELS)
def test_a_click_on_new_items_alone_makes_a_personal_list(stores: MemoryStores, name: str) -> None:
    service = Service(system_of(name), stores, clock=lambda: NOW, new_items=0)
    service.add_items(item("tale", "space"))
    service.add_items(item("saga", "space"))
    service.record(Events.build(user_id=["newest"], item_id=["tale"], event="like", timestamp=[NOW]))
    served = service.recommend(RecommendRequest("newest", 5))
    assert served.rung == "personal"
    assert "tale" not in ids(served)
    kinds = [service.item(item_id).categories for item_id in ids(served)]
    assert kinds.count(("space",)) >= 4
    first = next(line for line in served.items if line.item_id == ids(served)[0])
    assert (first.reason.kind, first.reason.item_id) == ("history", "tale")


def test_filters_and_what_was_seen_hold_for_new_items(service: Service, stores: MemoryStores) -> None:
    service.add_items(item("tale", "sea"))
    assert "tale" in listed(service, SEA, 100, categories=["sea"])
    assert "tale" not in listed(service, SEA, 100, categories=["space"])
    assert ("sea", 16) in service.categories()
    for columns in ({"available": False}, {"available_from": NOW + 1}):
        service.add_items(item("tale", "sea", **columns))
        assert "tale" not in listed(service, SEA, 100)
    service.add_items(item("tale", "sea", available_from=NOW))
    assert "tale" in listed(service, SEA, 100)
    stores.events.append(Events.build(user_id=[SEA], item_id=["tale"], event="like", timestamp=[NOW]))
    assert "tale" not in listed(service, SEA, 100)
    assert "tale" in listed(service, SEA, 100, keep_seen=True)


def test_an_item_whose_text_changes_is_read_anew(service: Service) -> None:
    service.add_items(item("other", "space"))
    service.add_items(item("tale", "space"))
    assert "tale" not in listed(service, SEA, 8)
    service.add_items(item("tale", "sea"))
    assert "tale" in listed(service, SEA, 8)
    assert "other" in listed(service, SPACE, 8)


def test_one_item_is_encoded_once(service: Service, encoded: list[str]) -> None:
    for item_id in ("one", "two", "three"):
        service.add_items(item(item_id, "sea"))
    assert [text.split(".")[0] for text in encoded] == ["A tale of one", "A tale of two", "A tale of three"]
    service.add_items(item("two", "sea"))
    service.add_items(item("two", "sea", price=3.0, available=False))
    service.add_items(Catalog.build(item_id=["sea-1"], title=["Another title of an item that training has seen"]))
    assert len(encoded) == service.encoded() == 3
    service.add_items(item("two", "space"))
    assert len(encoded) == 4


def test_vectors_of_new_items_outlive_the_process_where_they_can(
    stores: MemoryStores, encoded: list[str], tmp_path: Path
) -> None:
    system = replace(system_of(), vectors=tmp_path)
    Service(system, stores, clock=lambda: NOW).add_items(item("tale", "sea"))
    again = Service(system, stores, clock=lambda: NOW, new_items=0)
    assert "tale" in listed(again, SEA, 10)
    assert len(encoded) == 1
    (tmp_path / "later").rename(tmp_path / "moved")
    (tmp_path / "later").write_text("a file in the place of the folder")
    again.add_items(item("saga", "sea"))
    assert {"tale", "saga"} <= set(listed(again, SEA, 16))


def test_searching_again_encodes_what_is_new(service: Service, encoded: list[str]) -> None:
    service.find(WordsRequest("whale"))
    before = len(encoded)
    service.add_items(item("tale", "sea"))
    service.find(WordsRequest("whale"))
    # The item for the model, its two views for the search, and the words.
    assert len(encoded) == before + 4


def test_a_new_version_keeps_the_shop_and_what_is_new(service: Service, stores: MemoryStores) -> None:
    service.add_items(item("tale", "sea"))
    stores.catalog.upsert(item("sea-1", "sea", available=False))
    service.slot.replace(replace(system_of("text-neighbours"), manifest=replace(system_of().manifest, manifest_id="2")))
    state = service.slot.state
    assert (state.system.manifest.manifest_id, state.revision) == ("2", stores.catalog.revision())
    assert "tale" in listed(service, SEA, 10)
    assert "sea-1" not in listed(service, SEA, 100, keep_seen=True)


def test_a_model_that_cannot_go_on_serves_what_it_knows() -> None:
    service = Service(films_system(), films_stores(), clock=lambda: NOW)
    before = listed(service, "ann", 100)
    for _ in range(2):
        added = service.add_items(item("tale", "sea"))
    assert (added.written, added.recommendable) == (1, 0)
    assert service.new_items() == (0, 1)
    assert listed(service, "ann", 100) == before
    assert service.describe("tale").title == "A tale of tale"
    service.record(Events.build(user_id=["ann"], item_id=["tale"], event="like", timestamp=[NOW]))
    assert service.history("ann")[0].title == "A tale of tale"


def test_items_that_an_encoder_fails_on_wait_for_the_next_change(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: HashedNgrams, contents: Sequence[Content]) -> FloatMatrix:
        raise ConfigError("no answer from the encoder")

    with monkeypatch.context() as patched:
        patched.setattr(HashedNgrams, "encode", failing)
        assert service.add_items(item("tale", "sea")).recommendable == 0
    assert service.new_items() == (0, 1)
    assert service.add_items(item("saga", "sea")).recommendable == 1
    assert service.new_items() == (2, 0)
    assert {"tale", "saga"} <= set(listed(service, SEA, 16))


def test_others_are_answered_while_a_change_comes_in(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()
    encode = HashedNgrams.encode

    def slow(self: HashedNgrams, contents: Sequence[Content]) -> FloatMatrix:
        reading.set()
        assert go_on.wait(60)
        return encode(self, contents)

    monkeypatch.setattr(HashedNgrams, "encode", slow)
    adding = threading.Thread(target=service.add_items, args=(item("tale", "sea"),))
    adding.start()
    assert reading.wait(60)
    meanwhile = listed(service, SEA, 100)
    go_on.set()
    adding.join()
    assert "tale" not in meanwhile
    assert "tale" in listed(service, SEA, 100)


def test_items_that_cannot_be_used_are_refused_together(service: Service, stores: MemoryStores) -> None:
    wrong = Catalog.build(item_id=["good", "", "a\nb"], price=[1.0, math.inf, 1.0])
    with pytest.raises(ItemsRefusedError, match="3 problem") as refused:
        service.add_items(wrong)
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [
        (1, "item_id"),
        (1, "price"),
        (2, "item_id"),
    ]
    assert "good" not in stores.catalog.read().item_id
    twice = Catalog.build(item_id=["a", "b", "a"], title=["first", "b", "last"])
    assert service.add_items(twice).written == 2
    assert service.item("a").title == "last"


LISTS = st.integers(0, 25).flatmap(
    lambda n: st.tuples(st.lists(st.booleans(), min_size=n, max_size=n), st.integers(0, 8))
)


@given(LISTS, st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_new_items_have_their_share_and_no_more(made: tuple[list[bool], int], share: float, luck: float) -> None:
    flags, further = made
    n = len(flags)
    rows, new = np.arange(n), np.array(flags, np.bool_)
    scores = -rows.astype(np.float64)
    best_new = np.concatenate([rows[new], 100 + np.arange(further)])
    line = Exposure(share, luck).given(rows, scores, new, (best_new, -best_new.astype(np.float64)))
    is_new = np.isin(line.rows, best_new)
    assert new.sum() <= is_new.sum() <= max(new.sum(), math.ceil(round(share * n, 9)))
    assert is_new.sum() >= min(math.floor(share * n), new.sum() + further, new.sum() + max(0, (~new[1:]).sum()))
    assert len(set(line.rows.tolist())) == n
    assert line.rows[:1].tolist() == rows[:1].tolist()
    kept = line.rows[line.rows < 100]
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(line.scores, -line.rows.astype(np.float64))
    assert ((line.chances > 0) & (line.chances <= 1 + 1e-9)).all()
    nothing = Exposure(0.0, luck).given(rows, scores, new, (best_new, -best_new.astype(np.float64)))
    assert nothing.rows.tolist() == rows.tolist()
    assert nothing.chances.tolist() == [1.0] * n


@given(st.integers(2, 200), st.data())
def test_places_of_new_items_are_spread_over_all_but_the_first(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, n - 1))
    places = places_of(count, n)
    assert 1 <= places.min() <= places.max() < n
    assert len(set(places.tolist())) == count
    assert np.ptp(np.diff(places)) <= 1 if count > 1 else True


@given(st.integers(2, 40), st.floats(0.01, 0.99))
def test_the_chance_that_is_logged_is_the_one_of_the_rounding(n: int, share: float) -> None:
    rows, new = np.arange(n), np.zeros(n, np.bool_)
    best_new = 100 + np.arange(n), np.zeros(n)
    lucky, unlucky = (Exposure(share, luck).given(rows, rows * 1.0, new, best_new) for luck in (0.0, 0.999999999))
    chance = round(share * n, 9) % 1
    differ = lucky.rows != unlucky.rows
    np.testing.assert_allclose(lucky.chances[differ], chance, atol=1e-6)
    np.testing.assert_allclose(unlucky.chances[differ], 1 - chance, atol=1e-6)
    np.testing.assert_allclose(lucky.chances[~differ], 1.0)


def test_what_does_not_fit_is_shown_in_its_share(stores: MemoryStores) -> None:
    service = Service(system_of(), stores, clock=lambda: NOW, new_items=0.25)
    before = listed(service, SEA, 8)
    for name in ("one", "two", "three"):
        service.add_items(item(name, "space"))
    served = service.recommend(RecommendRequest(SEA, 8))
    shown = [(line.rank, line.item_id, line.propensity) for line in served.items if line.item_id not in before]
    assert [(rank, chance) for rank, _, chance in shown] == [(3, 1.0), (7, 1.0)]
    assert ids(served)[0] == before[0]
    assert ids(service.recommend(RecommendRequest(SEA, 8))) == ids(served)
    assert ids(service.recommend_many([SEA], 8)[0]) == ids(served)
    assert isinstance(stores.impressions, MemoryImpressions)
    assert [line.propensity for line in stores.impressions.logged[-1].served.items] == [1.0] * 8


def test_a_visitor_is_shown_what_came_last_as_what_it_is(stores: MemoryStores) -> None:
    service = Service(system_of(), stores, clock=lambda: NOW, new_items=0.2)
    for name in ("one", "two", "three"):
        service.add_items(item(name, "space"))
    served = service.recommend(RecommendRequest("visitor", 10))
    kinds = {line.item_id: line.reason.kind for line in served.items}
    assert [item_id for item_id, kind in kinds.items() if kind == "none"] == ["three", "two"]
    assert served.rung == "popular"
    assert list(kinds.values()).count("popular") == 8


def test_a_share_that_is_no_whole_place_is_there_on_some_days(stores: MemoryStores) -> None:
    clock = [NOW]
    service = Service(system_of(), stores, clock=lambda: clock[0], new_items=0.0625)
    service.add_items(item("one", "space"))
    days = []
    for day in range(60):
        clock[0] = NOW + day * 86_400_000
        served = service.recommend(RecommendRequest(SEA, 8))
        assert {line.propensity for line in served.items if line.item_id == "one"} <= {0.5}
        assert served.items[0].propensity == 1.0
        days.append("one" in ids(served))
    assert 15 <= sum(days) <= 45


@given(st.lists(st.tuples(st.integers(0, 9), st.sets(st.sampled_from("abc"))), max_size=12), st.integers(0, 9))
def test_filters_after_changes_are_those_of_the_whole_catalogue(
    changes: list[tuple[int, set[str]]], at_once: int
) -> None:
    catalog = Catalog.build(item_id=["0", "1", "2"], categories=[("a",), ("a", "b"), ()])
    eligibility = Eligibility(catalog)
    for start in range(0, len(changes), at_once + 1):
        written: dict[int, set[str]] = {}
        for row, categories in changes[start : start + at_once + 1]:
            written[min(row, len(catalog) + sum(known >= len(catalog) for known in written))] = categories
        items = Catalog.build(item_id=[str(row) for row in written], categories=[sorted(c) for c in written.values()])
        rows = np.array(list(written), np.int64)
        catalog = catalog.written(rows, items)
        eligibility = eligibility.changed(catalog, rows)
    whole, nobody = Eligibility(catalog), np.empty(0, np.int64)
    assert catalog.item_id.tolist() == [str(row) for row in range(len(catalog))]
    assert eligibility.categories() == whole.categories()
    for name in "abc":
        np.testing.assert_array_equal(eligibility.mask(0, nobody, [name]), whole.mask(0, nobody, [name]))


@pytest.fixture
def client(stores: MemoryStores) -> Client:
    return Client(create_app(Service(system_of(), stores, clock=lambda: NOW, new_items=0.2)))


def refusals(answer: httpx.Response) -> list[tuple[int, str]]:
    assert answer.status_code == 422
    return [(problem["row"], problem["field"].split(".")[0]) for problem in answer.json()["problems"]]


def test_a_client_adds_items_and_sees_them_in_lists_and_figures(client: Client) -> None:
    sent = {"item_id": "tale", "title": " 海上故事 ", "description": tale("sea", 99), "categories": ["sea"], "price": 3}
    assert client.post("/api/v1/items", json=sent).json() == {"written": 1, "recommendable": 1}
    assert client.get("/api/v1/items/tale").json()["title"] == "海上故事"
    served = client.get(f"/api/v1/recommend/{SEA}").json()["items"]
    assert "tale" in [line["item"]["item_id"] for line in served]
    figures = client.get("/metrics").text
    for line in (
        'zhiyin_list_places_total{kind="new"} 1.0',
        'zhiyin_list_places_total{kind="known"} 9.0',
        'zhiyin_new_items{recommendable="yes"} 1.0',
        'zhiyin_new_items{recommendable="no"} 0.0',
        "zhiyin_new_contents_encoded 1.0",
    ):
        assert line in figures.splitlines()
    assert client.post("/api/v1/items", json=[{**sent, "available": False}]).json()["written"] == 1
    assert '"tale"' not in client.get(f"/api/v1/recommend/{SEA}", {"n": 100}).text


def test_a_client_is_told_what_is_wrong_with_items(client: Client) -> None:
    good = {"item_id": "tale", "title": "A tale"}
    wrong = [good, {"title": "no id"}, {**good, "price": "3"}, {**good, "image": "/etc/passwd"}, {**good, "x": 1}]
    assert refusals(client.post("/api/v1/items", json=wrong)) == [(1, "item_id"), (2, "price"), (3, "image"), (4, "x")]
    assert client.get("/api/v1/items/tale").status_code == 404
    assert refusals(client.post("/api/v1/items", content=b'{"item_id": "a", "title": "\\ud800"}', headers=JSON)) == [
        (0, "title")
    ]
    assert client.post("/api/v1/items", content=b"[]", headers=JSON).status_code == 422
    assert client.post("/api/v1/items", content=b"[]").status_code == 415


JSON = {"content-type": "application/json"}


def test_the_share_is_set_by_file_environment_or_not_at_all(tmp_path: Path) -> None:
    assert read_settings(None, {}).serving.new_items == 0.1
    (tmp_path / "serve.toml").write_text("[serving]\nnew_items = 0.3\n")
    assert read_settings(tmp_path / "serve.toml", {}).serving.new_items == 0.3
    assert read_settings(tmp_path / "serve.toml", {"ZHIYIN_SERVING__NEW_ITEMS": "0"}).serving.new_items == 0
    with pytest.raises(ConfigError, match=r"\[serving\] new_items"):
        read_settings(None, {"ZHIYIN_SERVING__NEW_ITEMS": "2"})
