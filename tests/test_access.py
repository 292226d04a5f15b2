"""Who may ask for what, and how a server that others can reach is kept from being open."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import httpx
import pytest
from doubles import NOW, MemoryStores, films_stores, films_system
from fastapi import FastAPI

from zhiyin.app import access as access_module
from zhiyin.app.access import Access
from zhiyin.app.serve import needs_keys
from zhiyin.app.service import Service
from zhiyin.core.errors import ConfigError, InputError, StoreError
from zhiyin.core.events import Events
from zhiyin.core.stores import Scope, Which
from zhiyin.storage.opening import open_stores
from zhiyin.web import access as access_web
from zhiyin.web.application import create_app

LIKE = {"user_id": "ann", "item_id": "moon", "event": "like"}
ITEM = {"item_id": "lamp", "title": "Lamp"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def service(stores: MemoryStores, clock: Clock) -> Service:
    return Service(films_system(), stores, clock=clock)


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service, keyed=True)


def status(app: FastAPI, method: str, path: str, key: str | None = None, body: Any = None) -> int:
    async def ask() -> int:
        headers = {} if key is None else {"X-API-Key": key}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.request(method, path, headers=headers, json=body)).status_code

    return anyio.run(ask)


def made(service: Service, *scopes: Scope, **how: Any) -> str:
    return service.access.create(scopes, **how)[0]


QUESTIONS: list[tuple[str, str, Any, set[Scope]]] = [
    ("GET", "/api/v1/recommend/ann", None, {"read"}),
    ("GET", "/api/v1/users", None, {"read"}),
    ("POST", "/api/v1/events", LIKE, {"ingest"}),
    ("POST", "/api/v1/items", ITEM, {"ingest"}),
    ("PUT", "/api/v1/users/ann/taste", {"text": "noir"}, {"ingest"}),
    ("DELETE", "/api/v1/users/ann/taste", None, {"ingest"}),
    ("POST", "/api/session/recommend", [], {"read"}),
    ("GET", "/api/user/ann", None, {"read"}),
    ("POST", "/api/feedback", [], {"ingest"}),
    ("DELETE", "/api/item/moon", None, {"ingest"}),
    ("DELETE", "/api/user/ann", None, {"admin"}),
    ("GET", "/metrics", None, {"admin"}),
    ("POST", "/api/v1/users/ann/key", None, {"read", "ingest"}),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: " ".join(question[:2]))
def test_a_key_opens_what_its_scopes_say(
    app: FastAPI, service: Service, question: tuple[str, str, Any, set[Scope]]
) -> None:
    method, path, body, needed = question
    every: list[Scope] = ["read", "ingest", "admin"]
    assert status(app, method, path, None, body) == 401
    assert status(app, method, path, f"zy-{'0' * 12}-{'0' * 43}", body) == 401
    for scope in every:
        opened = scope == "admin" or needed == {scope}
        assert status(app, method, path, made(service, scope), body) == (200 if opened else 403), scope
    assert status(app, method, path, made(service, *needed), body) == 200


def test_every_question_is_closed_but_how_the_server_is(app: FastAPI, service: Service) -> None:
    paths = app.openapi()["paths"]
    opened = {path for path, asked in paths.items() for each in asked.values() if "security" not in each}
    assert opened == {"/api/health/live", "/api/health/ready"}
    assert status(app, "GET", "/") == status(app, "GET", "/api/health/live") == 200


def test_a_stranger_learns_nothing_but_that_keys_are_asked_for(app: FastAPI, stores: MemoryStores) -> None:
    for path in ("/api/v1/recommend/ann?n=none", "/api/v1/nothing", "//api/v1/users", "/static/../api/v1/users"):
        assert status(app, "GET", path) in {401, 404}, path
    assert status(app, "POST", "/api/v1/events", None, "{") == 401
    stores.keys = Mock(find=Mock(side_effect=StoreError("gone")))
    silent = create_app(Service(films_system(), stores), keyed=True)
    assert status(silent, "GET", "/api/v1/users", f"zy-{'0' * 12}-{'0' * 43}") == 503


def test_keys_that_are_looked_up_take_places(
    app: FastAPI, stores: MemoryStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = f"zy-{'0' * 12}-{'0' * 43}"
    monkeypatch.setattr(access_web, "LOOKING_UP_S", 0.05)
    looked_up = threading.Event()
    stores.keys = Mock(find=lambda _: looked_up.wait(60) and None)
    slow = create_app(Service(films_system(), stores), keyed=True)
    slow.state.load.at_once = 1

    async def crowd() -> tuple[list[int], int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(slow), base_url="http://shop") as client:
            asked = [client.get("/api/v1/users", headers={"X-API-Key": bad}) for _ in range(3)]
            told = [each.status_code for each in await asyncio.gather(*asked)]
            looked_up.set()
            return told, (await client.get("/api/v1/users", headers={"X-API-Key": bad})).status_code

    assert asyncio.run(crowd()) == ([503, 503, 503], 401)
    stores.keys = Mock(find=Mock(side_effect=RuntimeError("boom")))
    broken = create_app(Service(films_system(), stores), keyed=True)
    assert status(broken, "GET", "/api/v1/users", bad) == 500


def test_a_key_is_good_until_it_is_revoked_or_has_expired(
    app: FastAPI, service: Service, stores: MemoryStores, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting, brief = made(service, "read"), made(service, "read", lasting_ms=1000)
    assert [status(app, "GET", "/api/v1/users", key) for key in (lasting, brief)] == [200, 200]
    clock.now += 1000
    assert [status(app, "GET", "/api/v1/users", key) for key in (lasting, brief)] == [200, 401]
    monkeypatch.setattr(access_module, "TRUSTED_S", 0.0)
    other = Access(stores.keys, clock)
    assert other.caller(lasting) is not None
    assert service.access.revoke(lasting.split("-")[1])
    assert other.remembered(lasting) is None
    assert other.caller(lasting) is None


def test_nobody_learns_a_key_from_the_store(service: Service, stores: MemoryStores) -> None:
    written, key = service.access.create(["read"], note="shop")
    secret = written.rpartition("-")[2]
    assert secret not in str(stores.keys.find(key.key_id))
    assert service.access.caller(written[:-1] + ("A" if written[-1] != "A" else "B")) is None
    assert service.access.every()[0].note == "shop"
    with pytest.raises(InputError, match="read, ingest, admin"):
        service.access.create([])


@pytest.fixture
def of_ann(service: Service) -> str:
    return made(service, "read", "ingest", user_id="ann", lasting_ms=60_000)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/recommend/{user}", None),
        ("GET", "/api/v1/shelves/{user}", None),
        ("GET", "/api/v1/users/{user}/history", None),
        ("PUT", "/api/v1/users/{user}/taste", {"text": "noir"}),
        ("POST", "/api/v1/events", {**LIKE, "user_id": "{user}"}),
    ],
)
def test_a_key_of_one_user_opens_their_things_alone(
    app: FastAPI, of_ann: str, method: str, path: str, body: Any
) -> None:
    for user, expected in (("ann", 200), ("小明", 403), ("ann/../小明", 403)):
        asked = body and {name: value.replace("{user}", user) for name, value in body.items()}
        assert status(app, method, path.replace("{user}", user), of_ann, asked) in {expected, 404}, user
    mixed = [LIKE, {**LIKE, "user_id": "小明"}]
    assert status(app, "POST", "/api/v1/events", of_ann, mixed) == 403


def test_a_key_of_one_user_opens_nothing_of_all(app: FastAPI, service: Service, of_ann: str) -> None:
    for method, path, body in (
        ("GET", "/api/v1/users", None),
        ("POST", "/api/v1/items", ITEM),
        ("GET", "/api/recommend/ann", None),
        ("GET", "/api/feedback", None),
        ("POST", "/api/v1/users/ann/key", None),
    ):
        assert status(app, method, path, of_ann, body) == 403, path
    assert status(app, "GET", "/api/v1/items", of_ann) == status(app, "GET", "/api/v1/similar/moon", of_ann) == 200
    assert service.access.every() == []


def test_a_key_of_another_tenant_opens_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    ours, theirs = (Service(films_system(), open_stores(url, tenant)) for tenant in ("ours", "theirs"))
    key = made(ours, "admin")
    assert status(create_app(ours, keyed=True), "GET", "/api/v1/users", key) == 200
    assert status(create_app(theirs, keyed=True), "GET", "/api/v1/users", key) == 401
    ours.close()
    theirs.close()


def test_a_server_without_keys_stays_on_this_machine(service: Service, clock: Clock) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert not needs_keys(service.access, host)
    for host in ("0.0.0.0", "192.168.1.5", "shop.example"):  # noqa: S104
        with pytest.raises(ConfigError, match="zhiyin keys create"):
            needs_keys(service.access, host)
    made(service, "read", lasting_ms=1000)
    for _ in range(2):
        # A shop that was closed does not open by itself when its last key ends.
        assert needs_keys(service.access, "0.0.0.0")  # noqa: S104
        assert needs_keys(service.access, "127.0.0.1")
        clock.now += 1000


def test_a_key_that_another_asked_for_ends_with_it(app: FastAPI, service: Service) -> None:
    shop = made(service, "read", "ingest")
    ours = made(service, "read", user_id="ann", parent=shop.split("-")[1])
    assert status(app, "GET", "/api/v1/recommend/ann", ours) == 200
    service.access.revoke(shop.split("-")[1])
    assert service.access.caller(ours) is None


def test_a_key_that_reads_writes_nothing_by_the_way(app: FastAPI, service: Service, stores: MemoryStores) -> None:
    before = stores.events.last_sequence()
    path = "/api/recommend/bob?write-back-type=purchase"
    assert status(app, "GET", path, made(service, "read")) == 403
    assert stores.events.last_sequence() == before
    assert status(app, "GET", path, made(service, "read", "ingest")) == 200


def test_a_key_of_one_user_takes_no_id_away_from_others(app: FastAPI, service: Service, of_ann: str) -> None:
    event = {**LIKE, "event_id": "order-1001"}
    assert status(app, "POST", "/api/v1/events", of_ann, event) == 200
    theirs = Events.build(user_id=["小明"], item_id=["moon"], event="purchase", event_id=["order-1001"])
    assert service.record(theirs).added == 1
    assert status(app, "POST", "/api/v1/events", of_ann, event) == 200
    assert len(service.records.events(Which("ann", "moon"), 9)) == 1


def test_a_store_that_fails_tells_its_secrets_to_nobody(app: FastAPI, stores: MemoryStores) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            return await client.get("/api/health/ready")

    stores.catalog = Mock(revision=Mock(side_effect=StoreError("postgresql://u@db: hunter2")))
    answer = anyio.run(ask)
    assert (answer.status_code, "hunter2" in answer.text) == (503, False)
