"""Descriptions by a language model: where there is none, once, marked, and never over what the shop wrote."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, running, told
from typer.testing import CliRunner

from zhiyin.app.enrich import BATCH, EnrichReport, EnrichRequest, KeptTexts, enrich
from zhiyin.app.generated import DESCRIPTION_SOURCE, GENERATED, whole_sentences
from zhiyin.app.service import ItemView
from zhiyin.cli import application
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.encoders.language_model import KEY_VARIABLE
from zhiyin.storage.opening import open_stores
from zhiyin.testing.hostile_texts import HOSTILE
from zhiyin.web.answers import item_out


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setattr("zhiyin.app.enrich.DEADLINE_SECONDS", 5.0)
    monkeypatch.setattr("zhiyin.app.enrich.PAUSE_SECONDS", 6.0)
    with running() as started:
        started.answer = lambda asked: f"A film called {told(asked)['title']}. And then"
        yield started


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    put(
        url,
        item_id=["alien", "moon", "up", "code"],
        title=["Alien", "Moon", "Up", None],
        description=[None, "A man alone.", " ", None],
        categories=[["Horror"], [], [], []],
        attributes={"studio": ["Fox", None, "Pixar", None]},
    )
    return url


def put(url: str, **columns: Any) -> None:
    with closing(open_stores(url)) as stores:
        stores.catalog.upsert(Catalog.build(**columns))


def read(url: str) -> dict[str, tuple[str | None, str | None]]:
    """By item, its description and who wrote it."""
    with closing(open_stores(url)) as stores:
        catalog = stores.catalog.read()
    sources = catalog.attributes.get(DESCRIPTION_SOURCE, [None] * len(catalog))
    return {i: (d, s) for i, d, s in zip(catalog.item_id, catalog.description, sources, strict=True)}


def run(store: str, server: ChatServer, **options: Any) -> EnrichReport:
    return enrich(EnrichRequest(store, server.argument, **options))


def test_only_what_has_a_title_and_no_description_is_described_and_marked(store: str, server: ChatServer) -> None:
    report = run(store, server)
    assert (report.thin, report.known, report.asked, report.unusable, report.written) == (2, 0, 2, 0, 2)
    assert read(store) == {
        "alien": ("A film called Alien.", GENERATED),
        "moon": ("A man alone.", None),
        "up": ("A film called Up.", GENERATED),
        "code": (None, None),
    }
    assert {told(asked)["title"]: told(asked)["categories"] for asked in server.requests} == {
        "Alien": "Horror",
        "Up": "",
    }
    with closing(open_stores(store)) as stores:
        assert list(stores.catalog.read().attributes["studio"]) == ["Fox", None, "Pixar", None]


def test_nothing_is_asked_twice_though_the_shop_sends_its_catalogue_again(store: str, server: ChatServer) -> None:
    run(store, server)
    assert run(store, server) == EnrichReport(
        0, 0, 0, 0, 0, Path(store.removeprefix("sqlite:///") + ".generated.jsonl")
    )
    put(store, item_id=["alien", "up"], title=["Alien", "Up (2009)"], categories=[["Horror"], []])
    report = run(store, server)
    assert (report.known, report.asked, report.written) == (1, 1, 2)
    assert [told(asked)["title"] for asked in server.requests[2:]] == ["Up (2009)"]
    assert read(store)["up"] == ("A film called Up (2009).", GENERATED)


def test_what_the_shop_writes_takes_the_place_of_what_was_generated(store: str, server: ChatServer) -> None:
    run(store, server)
    put(store, item_id=["up"], title=["Up"], description=["A house flies."])
    run(store, server)
    assert read(store)["up"] == ("A house flies.", None)


def test_what_the_shop_writes_meanwhile_is_not_overwritten(store: str, server: ChatServer) -> None:
    def answer(asked: dict[str, Any]) -> str:
        put(store, item_id=["alien", "up"], title=["Alien", "Up"], description=["The shop's own."] * 2)
        return "Generated."

    server.answer = answer
    assert run(store, server).written == 0
    assert read(store)["alien"] == ("The shop's own.", None)


def test_a_limit_counts_what_is_asked(store: str, server: ChatServer) -> None:
    assert run(store, server, limit=0).asked == 0
    assert [run(store, server, limit=1).written for _ in range(3)] == [1, 1, 0]
    with pytest.raises(InputError, match="limit of -1"):
        run(store, server, limit=-1)


def test_a_run_that_breaks_off_keeps_what_was_said(tmp_path: Path, server: ChatServer) -> None:
    store = f"sqlite:///{tmp_path / 'many.db'}"
    titles = [f"Film {number:03}" for number in range(BATCH + 3)]
    put(store, item_id=titles, title=titles)
    server.status_of = lambda asked: 404 if told(asked)["title"] == titles[-1] else 200
    with pytest.raises(ConfigError, match="status 404"):
        run(store, server)
    assert sum(source == GENERATED for _, source in read(store).values()) == BATCH + 2
    server.status_of = lambda asked: 200
    asked = len(server.requests)
    assert run(store, server).written == 1
    assert len(server.requests) == asked + 1


def test_an_empty_answer_is_counted_and_asked_again(store: str, server: ChatServer) -> None:
    server.answer = lambda asked: " \n"
    report = run(store, server)
    assert (report.asked, report.unusable, report.written) == (2, 2, 0)
    assert run(store, server).asked == 2


def test_a_refused_item_keeps_no_other_from_being_described(store: str, server: ChatServer) -> None:
    server.status_of = lambda asked: 400 if told(asked)["title"] == "Alien" else 200
    report = run(store, server)
    assert (report.asked, report.unusable, report.written) == (2, 1, 1)
    assert read(store)["up"] == ("A film called Up.", GENERATED)


def test_a_hostile_title_changes_nothing_but_its_own_description(tmp_path: Path, server: ChatServer) -> None:
    store = f"sqlite:///{tmp_path / 'hostile.db'}"
    ids = [f"item-{number}" for number in range(len(HOSTILE) + 1)]
    put(store, item_id=ids, title=[*HOSTILE, "Moon"])
    server.answer = lambda asked: told(asked)["title"]
    run(store, server)
    assert read(store)[ids[-1]] == ("Moon", GENERATED)
    (moon,) = [asked for asked in server.requests if told(asked)["title"] == "Moon"]
    assert not any("9" in message["content"] for message in moon["messages"])


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    kept = KeptTexts(tmp_path / "kept.jsonl")
    kept.add({"a": "一", "b": "two"})
    with kept.path.open("a") as file:
        file.write('\n{"basis": "c", "te')
    again = KeptTexts(kept.path)
    again.add({"d": "four"})
    assert KeptTexts(kept.path).texts == {"a": "一", "b": "two", "d": "four"}
    with pytest.raises(InputError, match="cannot be read"):
        KeptTexts(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        KeptTexts(tmp_path / "none" / "kept.jsonl").add({"a": "b"})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("One. Two. And th", "One. Two."),
        ("一。二。还有", "一。二。"),
        ("No end", "No end"),
        (" a\n b. ", "a b."),
        ("", ""),
        ("\u200b\n", ""),
        ("A. " * 9, "A. A. A."),
    ],
)
def test_a_text_ends_with_a_sentence(said: str, kept: str) -> None:
    assert whole_sentences(said, 9) == kept


def test_a_client_is_told_which_descriptions_were_generated(store: str, server: ChatServer) -> None:
    run(store, server)
    with closing(open_stores(store)) as stores:
        catalog = stores.catalog.read()
    views = {item_id: item_out(ItemView.of(catalog, row)) for row, item_id in enumerate(catalog.item_id)}
    assert {item_id: view.generated for item_id, view in views.items()} == {
        "alien": True,
        "moon": False,
        "up": True,
        "code": False,
    }


def test_a_shell_tells_what_was_written(store: str, server: ChatServer, tmp_path: Path) -> None:
    words = ["enrich", "--store", store, "--language-model", server.argument, "--kept", str(tmp_path / "kept.jsonl")]
    told_as_json = CliRunner().invoke(application, [*words, "--limit", "1", "--json"])
    assert told_as_json.exit_code == 0, told_as_json.output
    assert json.loads(told_as_json.stdout)["written"] == 1
    plainly = CliRunner().invoke(application, words)
    assert plainly.exit_code == 0, plainly.output
    assert "descriptions written: 1" in plainly.stdout
