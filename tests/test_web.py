"""The HTTP API as a client sees it."""

import asyncio
import gzip
import json
import logging
import re
import threading
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import compress

import anyio.to_thread
import httpx
import pytest
import structlog
from doubles import NOW, MemoryStores, films_stores, films_system
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from servers import served
from starlette.types import Message, Receive, Scope, Send

import zhiyin.web
from zhiyin.app.service import Service
from zhiyin.cli.logs import log_as_json
from zhiyin.cli.serve import serve
from zhiyin.core.errors import StoreError
from zhiyin.core.events import Events
from zhiyin.storage.opening import open_stores
from zhiyin.web.application import create_app
from zhiyin.web.bodies import MAX_ROWS
from zhiyin.web.guard import MAX_BODY_BYTES, Guard
from zhiyin.web.schemas import LATEST_TIMESTAMP
from zhiyin.web.shedding import Load

FOLDER = Path(zhiyin.web.__file__).parent


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


class Client:
    """Asks the application without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, params=params))

    def post(self, path: str, **content: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **content))

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://zhiyin") as client:
            return await client.request(method, path, **content)


@pytest.fixture
def client(stores: MemoryStores) -> Client:
    return Client(create_app(Service(films_system(), stores, clock=lambda: NOW)))


def get(client: Client, path: str, **parameters: Any) -> Any:
    response = client.get(path, params=parameters or None)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_list_names_its_rung_and_its_reasons(client: Client) -> None:
    answer = get(client, "/api/v1/recommend/ann", n=2)
    assert answer["rung"] == "personal"
    assert [line["rank"] for line in answer["items"]] == [1, 2]
    first = answer["items"][0]
    assert first["item"]["title"] == "Stalker"
    assert first["reason"]["title"] == "Солярис"
    assert (first["reason"]["event"], first["reason"]["value"]) == ("rating", 3.0)
    assert get(client, "/api/v1/recommend/nobody")["rung"] == "popular"


def test_lists_take_filters(client: Client) -> None:
    answer = client.get("/api/v1/recommend/ann?category=Animation&category=Romance&n=100&keep_seen=true").json()
    found = {line["item"]["item_id"] for line in answer["items"]}
    assert {"totoro", "casablanca"} <= found
    assert not {"alien", "moon"} & found
    visitor = client.get("/api/v1/recommend/visitor?item=totoro&n=1").json()
    assert visitor["items"][0]["reason"]["event"] == "like"


@pytest.mark.parametrize("query", ["n=0", "n=101", "n=x", "keep_seen=perhaps", "item="])
def test_parameters_out_of_range_are_named(client: Client, query: str) -> None:
    response = client.get(f"/api/v1/recommend/ann?{query}")
    assert response.status_code == 422
    assert query.split("=", maxsplit=1)[0] in str(response.json()["problems"])


@pytest.mark.parametrize("user_id", ["小明", "a/b", "a b?c#d%", "🎬", "history", "a/history"])
def test_ids_of_any_kind_work_everywhere(client: Client, user_id: str) -> None:
    event = {"user_id": user_id, "item_id": "alien", "event": "like"}
    assert client.post("/api/v1/events", json=event).json() == {"added": 1, "known": 0}
    part = quote(user_id, safe="")
    assert get(client, f"/api/v1/recommend/{part}")["user_id"] == user_id
    assert get(client, f"/api/v1/shelves/{part}")["user_id"] == user_id
    assert get(client, f"/api/v1/users/{part}/history")["events"][0]["item_id"] == "alien"
    assert get(client, "/api/v1/users", prefix=user_id)["users"][0]["user_id"] == user_id


def test_events_keep_what_they_carry(client: Client, stores: MemoryStores) -> None:
    served = get(client, "/api/v1/recommend/ann", n=1)
    event = {
        "user_id": "ann",
        "item_id": served["items"][0]["item"]["item_id"],
        "event": "rating",
        "value": 4.5,
        "timestamp": NOW + 1,
        "recommendation_id": served["recommendation_id"],
        "position": 1,
    }
    assert client.post("/api/v1/events", json=[event]).json() == {"added": 1, "known": 0}
    kept: Events = stores.events.history("ann", 1)
    assert (kept.value[0], kept.timestamp[0], kept.position[0]) == (4.5, NOW + 1, 1)
    assert kept.recommendation_id[0] == served["recommendation_id"]


def test_wrong_rows_are_named_and_nothing_is_kept(client: Client, stores: MemoryStores) -> None:
    before = stores.events.last_sequence()
    rows = [
        {"user_id": "ann", "item_id": "alien", "event": "like"},
        {"user_id": "ann", "item_id": "alien", "event": "like", "vaule": 1},
        {"user_id": 7, "item_id": "alien", "event": "like"},
        {"user_id": "ann", "item_id": "alien"},
        "alien",
        {"user_id": "ann", "item_id": "alien", "event": "rating", "value": float("nan")},
    ]
    body = json.dumps(rows)
    response = client.post("/api/v1/events", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    found = [(problem["row"], problem["field"]) for problem in response.json()["problems"]]
    assert found == [(1, "vaule"), (2, "user_id"), (3, "event"), (4, ""), (5, "value")]
    malformed = client.post("/api/v1/events", json=[rows[0], {**rows[0], "item_id": "a\u0000b"}])  # type: ignore[dict-item]
    assert malformed.status_code == 422
    assert [(p["row"], p["field"]) for p in malformed.json()["problems"]] == [(1, "item_id")]
    late = client.post("/api/v1/events", json=[rows[0], {**rows[0], "timestamp": LATEST_TIMESTAMP}])  # type: ignore[dict-item]
    assert late.status_code == 422
    assert [(p["row"], p["field"]) for p in late.json()["problems"]] == [(1, "timestamp")]
    assert stores.events.last_sequence() == before


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"[]", "application/json", 422),
        (json.dumps([{}] * (MAX_ROWS + 1)).encode(), "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ],
)
def test_bodies_that_cannot_be_used_are_refused(client: Client, body: bytes, kind: str, status: int) -> None:
    response = client.post("/api/v1/events", content=body, headers={"content-type": kind})
    assert response.status_code == status
    assert response.json()["error"]


def test_the_cap_holds_for_bodies_of_undeclared_length(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    response = client.post("/api/v1/events", content=chunks(), headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_bodies_that_are_on_their_way_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.guard.MAX_HELD_BYTES", 1_000)
    first, end = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(str(len((await receive())["body"])))(scope, receive, send)

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 600
        first.set()
        await end.wait()
        yield b" " * 100

    async def crowd() -> list[tuple[int, str]]:
        transport = httpx.ASGITransport(Guard(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            slowly = asyncio.create_task(client.post("/", content=slow()))
            await first.wait()
            second = await client.post("/", content=b" " * 600)
            end.set()
            told = [second, await slowly, await client.post("/", content=b" " * 600)]
            return [(each.status_code, each.text) for each in told]

    refused, *answered = asyncio.run(crowd())
    assert refused[0] == 503
    assert answered == [(200, "700"), (200, "600")]


def test_what_strangers_send_takes_no_room_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.guard.MAX_HELD_BYTES", 1_000)
    begun, end = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(str(len((await receive())["body"])))(scope, receive, send)

    async def door(scope: Scope) -> Response | None:
        return Response("who are you", 401) if scope["path"] == "/stranger" else None

    async def much() -> AsyncIterator[bytes]:
        yield b" " * 5_000
        begun.set()
        await end.wait()

    async def crowd() -> list[tuple[int, str]]:
        transport = httpx.ASGITransport(Guard(app, limit=10_000, door=door))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            stranger = asyncio.create_task(client.post("/stranger", content=much()))
            await begun.wait()
            known = await client.post("/", content=b" " * 900)
            end.set()
            endless = await client.post("/stranger", content=b" " * 10_001)
            return [(each.status_code, each.text) for each in (known, await stranger, endless)]

    assert asyncio.run(crowd()) == [(200, "900"), (401, "who are you"), (401, "who are you")]


def test_a_body_that_does_not_come_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.guard.CLIENT_SECONDS", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.Event().wait()

    response = client.post("/api/v1/events", content=never(), headers={"content-type": "application/json"})
    assert (response.status_code, bool(response.json()["error"])) == (408, True)


def test_a_client_that_does_not_read_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.guard.CLIENT_SECONDS", 0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("answered")(scope, receive, send)

    async def dawdle() -> int:
        guard = Guard(app, load=Load(1))
        stuck = asyncio.Event()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def unread(message: Message) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        dawdling = asyncio.create_task(guard(scope, receive, unread))
        await stuck.wait()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://shop") as client:
            status = (await client.get("/")).status_code
        with pytest.raises(TimeoutError):
            await dawdling
        return status

    assert asyncio.run(dawdle()) == 200


def test_more_than_can_be_answered_at_once_is_told_to_come_again() -> None:
    entered, free = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await free.wait()
        await Response("answered")(scope, receive, send)

    async def crowd() -> tuple[int, httpx.Response, int, int]:
        transport = httpx.ASGITransport(Guard(slow, load=Load(1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            first = asyncio.create_task(client.get("/first"))
            await entered.wait()
            second = await client.get("/second")
            health = asyncio.create_task(client.get("/api/health/live"))
            free.set()
            return (await first).status_code, second, (await health).status_code, (await client.get("/")).status_code

    first, refused, health, later = asyncio.run(crowd())
    assert (first, refused.status_code, health, later) == (200, 503, 200, 200)
    assert (refused.headers["retry-after"], refused.headers["x-content-type-options"]) == ("1", "nosniff")


def test_what_is_surely_a_mistake_is_told(client: Client) -> None:
    mistyped = client.get("/api/v1/recommend/ann", {"excludes": "alien"})
    assert (mistyped.status_code, mistyped.json()["problems"][0]["field"]) == (422, "excludes")
    event = {"user_id": "ann", "item_id": "alien", "event": "like", "timestamp": NOW // 1000}
    seconds = client.post("/api/v1/events", json=event)
    assert (seconds.status_code, "milliseconds" in seconds.json()["problems"][0]["reason"]) == (422, True)


def test_a_body_that_is_compressed_is_told_so(client: Client) -> None:
    body = gzip.compress(json.dumps({"user_id": "ann", "item_id": "alien", "event": "like"}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.post("/api/v1/events", content=body, headers=headers)
    assert (answer.status_code, "send it as it is" in answer.json()["error"]) == (415, True)


def test_a_process_says_that_it_lives_while_every_thread_waits_for_a_store() -> None:
    free, app = threading.Event(), create_app(Service(films_system(), films_stores(), clock=lambda: NOW))

    async def ask() -> int:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            waiting = asyncio.create_task(anyio.to_thread.run_sync(free.wait))
            await asyncio.sleep(0)
            live = await asyncio.wait_for(client.get("/api/health/live"), 5)
            free.set()
            await waiting
        return live.status_code

    assert asyncio.run(ask()) == 200


def test_lists_from_a_real_store_agree_with_the_batch_and_reflect_concurrent_events(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'films.db'}")
    service = Service(films_system(), stores, clock=lambda: NOW)
    client = Client(create_app(service))
    users = [f"user-{number}" for number in range(12)]

    def tell(user: str) -> int:
        event = {"user_id": user, "item_id": "moon", "event": "like", "timestamp": NOW}
        return client.post("/api/v1/events", json=event).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(tell, users)) == {200}
        answers = list(pool.map(lambda user: get(client, f"/api/v1/recommend/{user}"), users))
    batch = service.recommend_many(users)
    for answer, alone in zip(answers, batch, strict=True):
        single = [(line["item"]["item_id"], line["score"]) for line in answer["items"]]
        assert single == [(item.item_id, item.score) for item in alone.items]
        assert len(stores.impressions.read(answer["recommendation_id"])) == len(single)
    stores.close()


def test_serve_puts_an_artifact_and_a_store_behind_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(app: FastAPI, **settings: Any) -> None:
        asked.update(settings, live=get(Client(app), "/api/health/live"))

    monkeypatch.setattr("uvicorn.run", run)
    monkeypatch.setattr("zhiyin.cli.logs.log_as_json", lambda level: None)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: asked.update(threads=threads))
    monkeypatch.setattr(
        "zhiyin.app.serve.latest_that_serves", lambda artifact: (films_system(manifest_id=artifact.name), [])
    )
    serve(f"sqlite:///{tmp_path / 'films.db'}", tmp_path / "version-7", host="127.0.0.1", port=8123)
    assert asked["live"]["manifest_id"] == "version-7"
    assert (asked["host"], asked["port"], asked["threads"]) == ("127.0.0.1", 8123, 1)


def test_the_log_is_json_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    try:
        log_as_json(logging.INFO)
        structlog.get_logger("zhiyin.requests").info("answered", route="/", key="k")
        logging.getLogger("other").warning("用户 %s", 7)
        logging.getLogger("other").debug("too fine")
        person = "somebody-whose-name-is-at-hand"
        try:
            raise ValueError("why" if person else "")
        except ValueError:
            logging.getLogger("other").exception("failed")
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**configured)
    told = capsys.readouterr().err
    assert person not in told
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["event"] for line in lines] == ["answered", "用户 7", "failed"]
    assert (lines[0]["key"], lines[1]["level"], lines[1]["logger"]) == ("k", "warning", "other")
    assert lines[2]["exception"][0]["exc_value"] == "why"


def test_what_is_asked_for_can_be_asked_for_by_its_head_alone() -> None:
    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service, served(service) as address:
        for path in ("/api/health/live", "/api/v1/recommend/ann", "/"):
            head, whole = httpx.head(address + path), httpx.get(address + path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(whole.content))


def test_items_are_listed_found_and_compared(client: Client) -> None:
    assert get(client, "/api/v1/items", limit=1)["items"][0]["item_id"] == "alien"
    assert get(client, "/api/v1/items", search="トトロ")["items"][0]["item_id"] == "totoro"
    assert get(client, "/api/v1/items/wall-e")["categories"] == ["Animation", "Science fiction"]
    assert get(client, "/api/v1/similar/totoro", n=1)["items"][0]["item"]["item_id"] == "wall-e"
    assert get(client, "/api/v1/categories")["categories"][0] == {"name": "Drama", "items": 9}
    missing = client.get("/api/v1/items/nothing")
    assert missing.status_code == 404
    assert "nothing" in missing.json()["error"]


def test_every_answer_names_its_request_and_the_log_names_nobody(client: Client) -> None:
    with structlog.testing.capture_logs() as lines:
        brought = client.get("/api/v1/recommend/ann", {"n": 1})
        named = asyncio.run(client._ask("GET", "/api/v1/items", headers={"x-request-id": "shop-7"}))
        hostile = asyncio.run(client._ask("DELETE", "/api/user/ann", headers={"x-request-id": "a b"}))
        missing = client.get("/nothing/ann")
    ids = [answer.headers["x-request-id"] for answer in (brought, named, hostile, missing)]
    assert ids[1] == "shop-7"
    assert all(re.fullmatch(r"[0-9a-f]{32}", ids[place]) for place in (0, 2, 3))
    told = [line for line in lines if line["event"] == "answered"]
    assert [(line["route"], line["status"]) for line in told] == [
        ("/api/v1/recommend/{user_id:path}", 200),
        ("/api/v1/items", 200),
        ("/api/user/{user_id}", 200),
        ("other", 404),
    ]
    assert [bool(line.get("audit")) for line in told] == [False, False, True, False]
    assert "ann" not in str(told)


def test_pages_of_a_list_show_nothing_twice_whatever_happens_between(client: Client, stores: MemoryStores) -> None:
    whole = {line["item"]["item_id"] for line in get(client, "/api/v1/recommend/小明", n=100)["items"]}
    shown: list[str] = []
    ranks: list[int] = []
    cursor = ""
    while cursor is not None:
        page = get(client, "/api/v1/recommend/小明", n=4, cursor=cursor)
        shown += [line["item"]["item_id"] for line in page["items"]]
        ranks += [line["rank"] for line in page["items"]]
        cursor = page["cursor"]
        # What is liked between two pages changes the order of all that is left.
        stores.events.append(Events.build(user_id=["小明"], item_id=["totoro"], event="like", timestamp=[NOW]))
    assert len(shown) == len(set(shown))
    assert whole - {"totoro"} <= set(shown) <= whole
    assert ranks == list(range(1, len(shown) + 1))


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "AAAA",
        "eNqLVkpUigUABSsBaA"[:-6],
        *(urlsafe_b64encode(compress(each)).decode().strip("=") for each in (b"7", b'["\\ud800"]')),
    ],
)
def test_a_cursor_that_leads_nowhere_is_told(client: Client, cursor: str) -> None:
    assert client.get("/api/v1/recommend/ann", {"cursor": cursor}).status_code == 404


@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_categories_rise_and_sink_as_asked(client: Client, user: str) -> None:
    def listed(*boosts: str) -> list[bool]:
        items = client.get(f"/api/v1/recommend/{user}", {"n": 100, "boost": boosts}).json()["items"]
        return ["Romance" in item["item"]["categories"] for item in items]

    plain = listed()
    assert any(plain)
    assert plain != sorted(plain, reverse=True)
    assert listed("Romance:99") == sorted(plain, reverse=True)
    assert listed("Romance:-99") == sorted(plain)
    assert listed("nothing:5", "Romance:0") == plain
    for wrong in ("Romance", "Romance:much", ":1", "Romance:1000"):
        assert client.get("/api/v1/recommend/ann", {"boost": wrong}).status_code == 422


def test_a_list_holds_nothing_that_is_excluded(client: Client) -> None:
    first = [line["item"]["item_id"] for line in get(client, "/api/v1/recommend/ann", n=3)["items"]]
    second = client.get("/api/v1/recommend/ann", {"n": 100, "exclude": [*first, "unknown"]}).json()["items"]
    assert not set(first) & {line["item"]["item_id"] for line in second}
    words = client.get("/api/v1/recommend/nobody", {"n": 2, "exclude": "alien"}).json()["items"]
    assert words[0]["item"]["item_id"] == "blade-runner"


def test_shelves_carry_a_recommendation_id_each(client: Client) -> None:
    shelves = get(client, "/api/v1/shelves/ann", n=4)["shelves"]
    assert [shelf["kind"] for shelf in shelves] == ["for-you", "because", "because", "popular"]
    assert shelves[1]["reason"]["event"] == "rating"
    assert len({shelf["recommendations"]["recommendation_id"] for shelf in shelves}) == len(shelves)
    narrowed = get(client, "/api/v1/shelves/ann", n=4, category="Romance")["shelves"][0]
    assert (narrowed["kind"], len(narrowed["recommendations"]["items"])) == ("for-you", 4)
    assert all("Romance" in line["item"]["categories"] for line in narrowed["recommendations"]["items"])


def test_health_and_metrics(client: Client) -> None:
    assert get(client, "/api/health/live") == {"status": "live", "manifest_id": "films-1"}
    assert get(client, "/api/health/ready")["status"] == "ready"
    get(client, "/api/v1/recommend/ann")
    late = {"user_id": "ann", "item_id": "moon", "event": "view", "timestamp": NOW - 43_200_000}
    assert client.post("/api/v1/events", json=[late, {**late, "timestamp": NOW}]).status_code == 200
    measured = client.get("/metrics").text
    for stage in ("people", "scores", "places", "log"):
        assert f'zhiyin_list_stage_seconds_count{{stage="{stage}"}} 1.0' in measured
    assert "zhiyin_event_lag_seconds_sum 43200.0" in measured
    assert 'zhiyin_lists_served_total{rung="personal"} 1.0' in measured
    assert 'route="/api/v1/recommend/{user_id:path}",status="200"' in measured
    assert "ann" not in re.findall(r'"([^"]*)"', measured)


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("/", (APIRoute, "handle")),
        ("/static/app.js", (StaticFiles, "get_response")),
        ("/api/v1/recommend/ann", (Service, "_asked")),
    ],
)
def test_an_unexpected_error_tells_the_log_and_not_the_client(
    path: str, broken: tuple[type, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret of the inside")

    app = create_app(Service(films_system(), films_stores(), clock=lambda: NOW))
    monkeypatch.setattr(*broken, fail)
    response = Client(app).get(path)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/json"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert set(response.json()) == {"error", "problems"}
    assert "secret" not in response.text
    assert "secret of the inside" in caplog.text
    monkeypatch.undo()
    assert 'status="500"} 1.0' in Client(app).get("/metrics").text


def test_a_store_that_fails_is_told_as_unavailable(stores: MemoryStores, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise StoreError("the disk is full")

    client = Client(create_app(Service(films_system(), stores, clock=lambda: NOW)))
    monkeypatch.setattr(stores.events, "history", fail)
    assert client.get("/api/v1/recommend/ann").status_code == 503


def test_what_has_no_route_is_refused_like_everything_else(client: Client) -> None:
    assert client.get("/nothing").json() == {"error": "Not Found", "problems": []}
    refused = client.post("/api/v1/users", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.json()["error"] == "Method Not Allowed"


@pytest.mark.parametrize("path", ["/", "/api/v1/users", "/static/app.js", "/nothing", "/api/v1/items/nothing"])
def test_every_answer_has_the_strict_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_description_is_served_here_and_no_page_asks_elsewhere(client: Client) -> None:
    schema = get(client, "/api/openapi.json")
    assert "/api/v1/events" in schema["paths"]
    assert client.get("/docs").status_code == 404
    for file in (*FOLDER.glob("static/*"), *FOLDER.glob("templates/*")):
        outside = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", file.read_text("utf-8")))
        assert outside <= {"http://www.w3.org"}, file.name


def test_both_languages_say_the_same_things(client: Client) -> None:
    def keys(value: Any) -> Any:
        return {key: keys(part) for key, part in value.items()} if isinstance(value, dict) else None

    def slots(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: slots(part) for key, part in value.items() if key != "one"}
        return sorted(re.findall(r"{\w+}", value))

    en, zh = (get(client, f"/locales/{language}.json") for language in ("en", "zh"))
    assert slots(en) == slots(zh)
    assert set(keys(en)) == set(keys(zh))
    named = set(re.findall(r'data-text="(\w+)"', client.get("/").text))
    assert named <= set(en)
    assert "innerHTML" not in client.get("/static/app.js").text
