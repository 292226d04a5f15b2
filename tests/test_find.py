"""Search by words, as the service and its faces offer it."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from doubles import FILMS, NOW, MemoryStores, films_stores, films_system
from typer.testing import CliRunner

import zhiyin
from zhiyin.app.service import ItemView, Service, WordsRequest
from zhiyin.app.system import System
from zhiyin.cli import application
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError, InputError, NotFoundError
from zhiyin.core.models import Content
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders.hashed import HashedNgrams
from zhiyin.web.application import create_app


def system_of(*encoders: str) -> System:
    return replace(films_system(), settings=PreparationSettings(encoders=encoders))


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def service(stores: MemoryStores) -> Service:
    return Service(system_of("hashed-ngrams"), stores, clock=lambda: NOW)


def ids(found: Sequence[tuple[ItemView, float]]) -> list[str]:
    return [view.item_id for view, _ in found]


def post(service: Service, **body: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://zhiyin") as client:
            return await client.post("/api/v1/find", json=body)

    return asyncio.run(ask())


@pytest.mark.parametrize(("text", "item_id"), [("Blade Runner", "blade-runner"), ("重庆森林", "chungking")])
def test_a_name_comes_first_and_scores_fall(service: Service, text: str, item_id: str) -> None:
    found = service.find(WordsRequest(text, n=5))
    scores = [score for _, score in found]
    assert ids(found)[0] == item_id
    assert len(found) == 5
    assert scores == sorted(scores, reverse=True)


def test_filters_availability_and_examples_hold(service: Service) -> None:
    assert "lost" not in ids(service.find(WordsRequest("A Film That Is Lost", n=100)))
    assert set(ids(service.find(WordsRequest("film", categories=["Animation"])))) == {
        "wall-e",
        "totoro",
        "spirited-away",
        "up",
    }
    assert not {"up", "moon"} & set(ids(service.find(WordsRequest("", like=["up"], unlike=["moon"], n=100))))


def test_a_user_is_not_shown_what_they_have_seen(service: Service) -> None:
    assert ids(service.find(WordsRequest("Alien")))[0] == "alien"
    theirs = ids(service.find(WordsRequest("Alien", n=100), "ann"))
    assert not {"alien", "solaris"} & set(theirs)
    assert "totoro" in theirs


def test_a_users_own_scores_move_what_the_words_leave_open(service: Service) -> None:
    def place(user_id: str, item_id: str) -> int:
        return ids(service.find(WordsRequest("Drama", n=100), user_id)).index(item_id)

    assert place("ann", "stalker") < place("小明", "stalker")
    assert place("小明", "before-sunrise") < place("ann", "before-sunrise")


def test_an_unknown_user_gets_what_everybody_gets(service: Service) -> None:
    assert service.find(WordsRequest("Moon"), "nobody") == service.find(WordsRequest("Moon"))


def test_what_the_shop_says_now_is_searched(service: Service, stores: MemoryStores) -> None:
    service.find(WordsRequest("lighthouse"))
    stores.catalog.upsert(Catalog.build(item_id=["up"], title=["The Lighthouse"]))
    found = service.find(WordsRequest("lighthouse", n=1))
    assert (found[0][0].item_id, found[0][0].title) == ("up", "The Lighthouse")


def test_a_catalogue_is_encoded_once_however_many_ask_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogues: list[int] = []
    encode = HashedNgrams.encode

    def counted(self: HashedNgrams, contents: Sequence[Content]) -> FloatMatrix:
        if len(contents) > 1:
            catalogues.append(len(contents))
        return encode(self, contents)

    monkeypatch.setattr(HashedNgrams, "encode", counted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(service.find, [WordsRequest("Moon")] * 16))
    once = len(catalogues)
    service.find(WordsRequest("Stalker"))
    assert all(answer == answers[0] for answer in answers)
    assert (once, len(catalogues)) == (3, 3), "categories, whole texts and texts without the title"


def test_a_system_without_an_encoder_says_what_to_do(stores: MemoryStores) -> None:
    with pytest.raises(ConfigError, match="train again"):
        Service(system_of(), stores).find(WordsRequest("Moon"))


def test_refusals_name_what_is_wrong(service: Service) -> None:
    with pytest.raises(InputError, match="nothing is asked for"):
        service.find(WordsRequest(" "))
    with pytest.raises(NotFoundError, match="'nowhere'"):
        service.find(WordsRequest("Moon", like=["nowhere"]))


def test_a_client_finds_what_the_service_finds(service: Service) -> None:
    body = {"text": "Drama", "like": ["moon"], "unlike": ["up"], "categories": ["Drama"], "n": 3}
    answer = post(service, user_id="ann", **body)
    expected = service.find(WordsRequest("Drama", ["moon"], ["up"], ["Drama"], 3), "ann")
    assert answer.status_code == 200
    lines = answer.json()["items"]
    assert [(line["item"]["item_id"], line["score"]) for line in lines] == [(v.item_id, s) for v, s in expected]
    assert post(service, text="重庆森林", n=1).json()["items"][0]["item"]["title"] == "重庆森林 Chungking Express"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""),
        ("text", " \n\t"),
        ("text", "x" * 1001),
        ("user_id", ""),
        ("like", ["up"] * 101),
        ("unlike", "up"),
        ("categories", ["Drama"] * 21),
        ("n", 0),
        ("n", 101),
        ("words", "Moon"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_by_field(service: Service, field: str, value: Any) -> None:
    refused = post(service, **{"text": "Moon", field: value})
    assert refused.status_code == 422
    assert [problem["field"].split(".")[0] for problem in refused.json()["problems"]] == [field]


def test_a_client_is_told_what_is_missing(service: Service, stores: MemoryStores) -> None:
    assert post(service, text="Moon", like=["nowhere"]).status_code == 404
    untaught = post(Service(system_of(), stores), text="Moon")
    assert untaught.status_code == 503
    assert "train again" in untaught.json()["error"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("found")
    lines = [f"u{user},{FILMS[(user + step) % 14][0]},{NOW + step}" for user in range(20) for step in range(6)]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines), "utf-8")
    titles = [f'{item_id},"{title}"' for item_id, title, _ in FILMS[:-1]]
    (folder / "films.csv").write_text("item_id,title\n" + "\n".join([*titles, "tag,[red] Balloon"]), "utf-8")
    store, out = f"sqlite:///{folder / 'events.db'}", folder / "system"
    zhiyin.ingest(folder / "events.csv", store=store, catalogue=folder / "films.csv")
    preparation = PreparationSettings(encoders=("hashed-ngrams",))
    zhiyin.train(store=store, out=out, model="popularity", preparation=preparation)
    return store, out


def test_a_published_system_finds_by_words_in_python_and_in_a_shell(trained: tuple[str, Path]) -> None:
    store, out = trained
    with zhiyin.load(out, store=store) as recommender:
        found = recommender.find("重庆森林", "u1", n=3)
    words = ["find", "重庆森林", "--store", store, "--artifact", str(out), "--user", "u1", "-k", "3", "--json"]
    told = CliRunner().invoke(application, words)
    assert told.exit_code == 0, told.output
    assert ids(found)[0] == "chungking"
    assert [(line["item_id"], line["score"]) for line in json.loads(told.stdout)] == [(v.item_id, s) for v, s in found]


def test_a_shell_shows_titles_as_they_are(trained: tuple[str, Path]) -> None:
    store, out = trained
    told = CliRunner().invoke(application, ["find", "balloon", "--store", store, "--artifact", str(out), "-k", "1"])
    assert told.exit_code == 0, told.output
    assert "[red] Balloon" in told.stdout
