"""What a user likes, in words: generated, read, edited, and what a judge of lists is told of it."""

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_server import running, told
from doubles import FILMS, NOW, MemoryStores, films_stores, films_system
from fastapi import FastAPI

from zhiyin.app.serve import open_service
from zhiyin.app.service import LanguageModelSettings, RecommendRequest, Service, Taste
from zhiyin.app.serving.tastes import MAX_CHARACTERS, QUESTIONS
from zhiyin.app.settings import read_settings
from zhiyin.cli.serve import serve
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.events import Events
from zhiyin.core.models import Completion, Prompt
from zhiyin.core.stores import Stores
from zhiyin.storage.opening import open_stores
from zhiyin.testing.hostile_texts import HOSTILE
from zhiyin.web.application import create_app

PATIENT = LanguageModelSettings(deadline_s=60)


class Writer:
    """A language model that likes animation, and says how often it was asked to describe."""

    fingerprint = "writer"

    def __init__(self) -> None:
        self.descriptions: list[Prompt] = []
        self.judged: list[Prompt] = []
        self.fails = False

    def complete(self, prompt: Prompt, tokens: int, deadline: float, *, weighed: bool = False) -> Completion:
        if self.fails:
            raise ConfigError("no answer")
        if weighed:
            self.judged.append(prompt)
            return Completion("9" if "Animation" in prompt.data["item"] else "0")
        self.descriptions.append(prompt)
        return Completion(f"You like {prompt.data['favourite categories']}. And so")


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def service(stores: MemoryStores, writer: Writer) -> Service:
    return Service(films_system(), stores, lambda: NOW, writer, PATIENT)


def like(stores: Stores, user_id: str, item_id: str) -> None:
    stores.events.append(Events.build(user_id=[user_id], item_id=[item_id], event="like", timestamp=[NOW]))


def ids(service: Service, user_id: str = "ann", n: int = 10) -> list[str]:
    return [item.item_id for item in service.recommend(RecommendRequest(user_id, n)).items]


# -- descriptions -----------------------------------------------------------------------------------------------------


def test_a_taste_is_described_once_from_what_was_liked_last(
    service: Service, writer: Writer, stores: MemoryStores
) -> None:
    first = service.taste("ann")
    assert first is not None
    assert (first.text, first.source) == ("You like Science fiction, Drama, Horror.", "generated")
    assert writer.descriptions[0].data["liked items"] == "Солярис; Alien"
    assert service.taste("ann") == first
    assert len(writer.descriptions) == 1
    like(stores, "ann", "amelie")
    again = service.taste("ann")
    assert again is not None
    assert "Romance" in again.text
    assert writer.descriptions[1].data["liked items"].startswith("Amélie; ")


def test_a_taste_is_described_in_the_language_asked_for(service: Service, writer: Writer) -> None:
    service.taste("小明", "zh")
    service.taste("小明", "en")
    assert [prompt.question for prompt in writer.descriptions] == [QUESTIONS["zh"], QUESTIONS["en"]]


def test_own_words_are_never_replaced_until_they_are_cleared(
    service: Service, writer: Writer, stores: MemoryStores
) -> None:
    service.taste("ann")
    assert service.edit_taste("ann", " only silent films ") == Taste("only silent films", "edited")
    like(stores, "ann", "amelie")
    assert service.taste("ann") == Taste("only silent films", "edited")
    assert len(writer.descriptions) == 1
    service.clear_taste("ann")
    cleared = service.taste("ann")
    assert cleared is not None
    assert cleared.source == "generated"


def test_without_a_model_or_a_history_nothing_is_said(service: Service, writer: Writer, stores: MemoryStores) -> None:
    assert service.taste("nobody") is None
    assert Service(films_system(), stores).taste("ann") is None
    assert not writer.descriptions


def test_a_model_that_does_not_answer_leaves_what_was_said(
    service: Service, writer: Writer, stores: MemoryStores
) -> None:
    writer.fails = True
    assert service.taste("ann") is None
    writer.fails = False
    said = service.taste("ann")
    writer.fails = True
    like(stores, "ann", "amelie")
    assert service.taste("ann") == said


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_CHARACTERS + 1)])
def test_words_that_cannot_be_kept_are_refused(service: Service, text: str) -> None:
    with pytest.raises(InputError, match="1 to 1000 characters"):
        service.edit_taste("ann", text)


# -- lists ------------------------------------------------------------------------------------------------------------


def test_the_top_of_a_list_is_judged_within_bounds(service: Service, stores: MemoryStores, writer: Writer) -> None:
    plain = ids(Service(films_system(), stores, lambda: NOW), n=100)
    judged = ids(service, n=100)
    assert sorted(judged) == sorted(plain)
    assert judged != plain
    assert all(abs(plain.index(item) - judged.index(item)) <= PATIENT.max_rise for item in plain)
    animated = {item_id for item_id, _, kinds in FILMS if "Animation" in kinds}
    assert all(judged.index(item) <= plain.index(item) for item in animated & set(plain))
    assert ids(service, n=3) == judged[:3], "a short list is the top of the long one"
    for prompt in writer.judged:
        titles = [title for _, title, _ in FILMS if title in prompt.data["item"].split(". ")[0]]
        assert len(titles) == 1


def test_lists_are_as_they_were_where_the_model_fails(service: Service, stores: MemoryStores, writer: Writer) -> None:
    writer.fails = True
    assert ids(service) == ids(Service(films_system(), stores, lambda: NOW))


def test_a_list_of_no_length_is_refused_with_a_judge_as_without(service: Service) -> None:
    with pytest.raises(InputError, match="at least one"):
        ids(service, n=0)


def test_popular_lists_are_not_judged(service: Service, writer: Writer) -> None:
    ids(service, "nobody")
    assert not writer.judged


def test_lists_asked_for_together_are_those_asked_for_alone(service: Service) -> None:
    (together,) = service.recommend_many(["ann"])
    assert [item.item_id for item in together.items] == ids(service)


def test_the_first_shelf_is_judged(service: Service, writer: Writer) -> None:
    shelves = service.shelves("ann")
    assert [item.item_id for item in shelves.shelves[0].recommendations.items] == ids(service, n=4)
    assert writer.judged


def test_a_judge_is_told_own_words_and_categories_and_no_text_of_an_item_of_the_history(
    service: Service, stores: MemoryStores, writer: Writer
) -> None:
    stores.catalog.upsert(
        Catalog.build(
            item_id=["alien"], title=[HOSTILE[0]], description=[HOSTILE[10]], categories=[["Science fiction", "Horror"]]
        )
    )
    service.taste("ann")
    ids(service)
    told = {(prompt.data["likes"], prompt.data.get("in their own words")) for prompt in writer.judged}
    assert told == {("Science fiction, Drama, Horror", None)}
    service.edit_taste("ann", "only silent films")
    writer.judged.clear()
    ids(service)
    assert {prompt.data["in their own words"] for prompt in writer.judged} == {"only silent films"}
    assert not any("Ignore" in json.dumps(dict(prompt.data)) for prompt in writer.judged)


# -- over HTTP --------------------------------------------------------------------------------------------------------


def ask(app: FastAPI | Service, method: str, path: str, **content: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(app) if isinstance(app, Service) else app)
        async with httpx.AsyncClient(transport=transport, base_url="http://zhiyin") as client:
            return await client.request(method, path, **content)

    return asyncio.run(send())


def test_a_client_reads_edits_and_clears_a_taste(service: Service) -> None:
    path = "/api/v1/users/小明/taste"
    read = ask(service, "GET", path, params={"language": "zh"})
    assert read.status_code == 200
    assert (read.json()["user_id"], read.json()["source"]) == ("小明", "generated")
    put = ask(service, "PUT", path, json={"text": "王家卫的电影"})
    assert put.json() == {"user_id": "小明", "text": "王家卫的电影", "source": "edited"}
    assert ask(service, "GET", path).json() == put.json()
    nothing = {"user_id": "小明", "text": None, "source": None}
    assert ask(service, "DELETE", path).json() == nothing
    assert ask(service, "GET", "/api/v1/users/nobody/taste").json()["text"] is None


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": "x" * 1001}, {"text": "a", "source": "edited"}])
def test_a_client_is_told_what_cannot_be_kept(service: Service, body: dict[str, str]) -> None:
    assert ask(service, "PUT", "/api/v1/users/ann/taste", json=body).status_code == 422
    assert ask(service, "GET", "/api/v1/users/ann/taste", params={"language": "fr"}).status_code == 422


# -- settings ---------------------------------------------------------------------------------------------------------


def test_serve_asks_the_model_that_a_flag_names_over_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(app: FastAPI, **_: Any) -> None:
        answer = ask(app, "GET", "/api/v1/recommend/ann?n=5")
        shown.extend(line["item"]["item_id"] for line in answer.json()["items"])

    shown: list[str] = []
    store = f"sqlite:///{tmp_path / 'films.db'}"
    with closing(open_stores(store)) as stores:
        like(stores, "ann", "alien")
    (tmp_path / "settings.toml").write_text('[language_model]\nendpoint = "m@http://localhost:1/v1"\ndeadline_s = 50\n')
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("ZHIYIN_LANGUAGE_MODEL__CANDIDATES", "6")
    monkeypatch.setattr("uvicorn.run", run)
    monkeypatch.setattr("zhiyin.cli.logs.log_as_json", lambda level: None)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    monkeypatch.setattr("zhiyin.app.serve.latest_that_serves", lambda artifact: (films_system(), []))
    with running() as server:
        serve(store, tmp_path, language_model=server.argument, config=tmp_path / "settings.toml")
        items = [told(asked)["item"] for asked in server.requests]
    assert len(items) == len(set(items)) == 6
    assert len(shown) == 5


@pytest.mark.parametrize(
    ("table", "message"), [("deadline_s = 0", r"\[language_model\] deadline_s"), ("model = 1", "model: Extra inputs")]
)
def test_settings_that_cannot_be_are_told(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "settings.toml").write_text(f"[language_model]\n{table}\n")
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / "settings.toml", {})


def test_a_model_that_is_no_place_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="language model 'gpt' is not MODEL@URL"):
        open_service(f"sqlite:///{tmp_path / 'films.db'}", tmp_path, LanguageModelSettings(endpoint="gpt"))
