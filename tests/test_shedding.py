"""What is too much is refused before it is read, and what was begun is answered."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from doubles import NOW, films_stores, films_system
from fastapi import FastAPI
from servers import served
from uvicorn.server import ServerState

from zhiyin.app.service import RecommendRequest, Service
from zhiyin.core.results import Recommendations
from zhiyin.web import application
from zhiyin.web.application import create_app
from zhiyin.web.shedding import SheddingProtocol

TIMEOUT_S = 60.0


class Held:
    """A server that answers one question at a time, the first of which waits until it is let go."""

    def __init__(self, service: Service, address: str, asked: list[Future[Recommendations]]) -> None:
        self.service = service
        self.address = address
        self.asked = asked

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=TIMEOUT_S)

    def let_go(self) -> None:
        for answer in self.asked:
            answer.set_result(self.service.recommend(RecommendRequest("ann", 2)))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    asked: list[Future[Recommendations]] = []

    def ask(_: Service, __: RecommendRequest) -> Future[Recommendations]:
        asked.append(Future())
        return asked[-1]

    monkeypatch.setattr(application, "MAX_AT_ONCE", 1)
    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service, served(service) as address:
        monkeypatch.setattr(Service, "ask", ask)
        yield Held(service, address, asked)


def test_what_is_too_much_is_told_to_come_again_and_the_server_tells_how_it_is(held: Held) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(held.get, "/api/v1/recommend/ann?n=2")
        while not held.asked:
            pass
        refused = held.get("/api/v1/recommend/bob")
        health = held.get("/api/health/ready")
        held.let_go()
        assert len(first.result().json()["items"]) == 2
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert set(refused.json()) == {"error", "problems"}
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert health.status_code == 200
    assert "zhiyin_http_requests_shed_total 1.0" in held.get("/metrics").text


@pytest.mark.parametrize(
    ("asked", "stays"),
    [
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\nCONNECTION: close\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", False),
        (b"GET /api/v1/items HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/items HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.0\r\nHost: x\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\nConnection:Keep-Alive\r\n\r\n", True),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\nConnection:close\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\nContent-Length: 38\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost: x\n\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nAccept: x\r\n\r\n", False),
        (b"GET /api/v1/items?limit=1 HTTP/1.1\r\nHost", False),
        (b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n", False),
    ],
)
def test_who_is_refused_may_ask_again_on_the_connection_where_its_question_was_whole(
    held: Held, asked: bytes, stays: bool
) -> None:
    place = httpx.URL(held.address)
    with ThreadPoolExecutor(1) as pool, socket.create_connection((place.host, place.port or 0), TIMEOUT_S) as client:
        first = pool.submit(held.get, "/api/v1/recommend/ann?n=2")
        while not held.asked:
            pass
        client.sendall(asked)
        told = b""
        while not told.endswith(b"}"):
            told += client.recv(65_536)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert (b"\r\nconnection: close\r\n" not in told) == stays
        held.let_go()
        first.result()
        if stays:
            client.sendall(asked)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        else:
            assert client.recv(65_536) == b""


def flood(client: socket.socket, question: bytes) -> None:
    while True:
        client.sendall(question)


def test_who_asks_and_does_not_read_is_refused_for_the_last_time(held: Held) -> None:
    place, question = httpx.URL(held.address), b"GET /api/v1/items HTTP/1.1\r\nHost: x\r\n\r\n"
    with ThreadPoolExecutor(1) as pool, socket.create_connection((place.host, place.port or 0), TIMEOUT_S) as client:
        first = pool.submit(held.get, "/api/v1/recommend/ann?n=2")
        while not held.asked:
            pass
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            flood(client, question)
        held.let_go()
        first.result()


def test_bodies_are_refused_as_well_and_connections_may_be_made_anew(held: Held) -> None:
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=held.address, timeout=TIMEOUT_S) as client:
        assert client.get("/api/v1/items").status_code == 200
        first = pool.submit(held.get, "/api/v1/recommend/ann?n=2")
        while not held.asked:
            pass
        event = {"user_id": "ann", "item_id": "alien", "event": "like"}
        assert client.post("/api/v1/events", json=event).status_code == 503
        held.let_go()
        first.result()
        assert client.post("/api/v1/events", json=event).json() == {"added": 1, "known": 0}


def test_where_there_are_too_many_connections_the_next_is_told_when_to_come_again() -> None:
    service = Service(films_system(), films_stores(), clock=lambda: NOW)
    with closing(service), served(service, connections=2) as address:
        place = httpx.URL(address)
        with socket.create_connection((place.host, place.port or 0)):
            refused = httpx.get(f"{address}/api/v1/recommend/ann")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        while (later := httpx.get(f"{address}/api/v1/recommend/ann")).status_code != httpx.codes.OK:
            pass
        assert later.json()["items"]


def test_who_only_holds_connections_leaves_the_health_of_the_server_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.shedding.ASKING_SECONDS", 0.2)
    service = Service(films_system(), films_stores(), clock=lambda: NOW)
    with closing(service), served(service, connections=3) as address:
        place = httpx.URL(address)
        silent, dawdling = (socket.create_connection((place.host, place.port or 0)) for _ in range(2))
        with silent, dawdling:
            dawdling.sendall(b"GET / HT")
            assert httpx.get(f"{address}/api/health/live").status_code == httpx.codes.OK
            assert [each.recv(1) for each in (silent, dawdling)] == [b"", b""], "they are let go"


def client_of(app: FastAPI, loop: asyncio.AbstractEventLoop, keep_alive_s: int = 5) -> tuple[SheddingProtocol, Mock]:
    """A connection of somebody to `app`, and what they would read from."""
    config = uvicorn.Config(app, http=SheddingProtocol, lifespan="off", timeout_keep_alive=keep_alive_s)
    config.load()
    transport = Mock(get_write_buffer_size=Mock(return_value=0), get_extra_info=Mock(return_value=None))
    transport.is_closing.side_effect = lambda: transport.close.called
    client = SheddingProtocol(config, ServerState(), {}, loop)
    client.connection_made(transport)
    return client, transport


def test_who_is_answered_and_goes_on_with_a_body_without_end_is_left() -> None:
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    async def go_on(app: FastAPI) -> bytes:
        client, transport = client_of(app, asyncio.get_running_loop(), keep_alive_s=0)
        client.data_received(head)
        while not transport.close.called:
            client.data_received(piece)
            await asyncio.sleep(0)
        told: bytes = transport.write.call_args_list[0].args[0]
        return told

    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service:
        assert b" 413 " in asyncio.run(asyncio.wait_for(go_on(create_app(service)), TIMEOUT_S))


@pytest.mark.parametrize("ending", [b"0\r\n\r\n", b"no chunk\r\n"])
def test_who_is_answered_and_ends_the_body_may_ask_again_unless_it_is_broken(ending: bytes) -> None:
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 2
    question = b"GET /api/health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    async def ask_again(app: FastAPI) -> tuple[bool, list[bytes]]:
        client, transport = client_of(app, asyncio.get_running_loop())
        client.data_received(head + pieces)
        while not client.cycle.response_complete:
            await asyncio.sleep(0)
        first = client.timeout_keep_alive_task
        client.data_received(ending)
        renewed = client.timeout_keep_alive_task is not first
        if not transport.close.called:
            client.data_received(question)
            assert app.state.load.coming == 1
            while not client.cycle.response_complete:
                await asyncio.sleep(0)
        return renewed, [line for (written,), _ in transport.write.call_args_list for line in written.splitlines()[:1]]

    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service:
        renewed, told = asyncio.run(asyncio.wait_for(ask_again(create_app(service)), TIMEOUT_S))
    answers = [line.split()[1] for line in told if line.startswith(b"HTTP/")]
    assert (renewed, answers) == ((True, [b"413", b"200"]) if ending[:1] == b"0" else (False, [b"413"]))


def test_of_many_that_come_at_the_same_moment_no_more_are_let_in_than_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(application, "MAX_AT_ONCE", 2)
    question = b"GET /api/v1/items HTTP/1.1\r\nHost: x\r\n\r\n"

    async def crowd(app: FastAPI) -> tuple[list[bool], list[bytes]]:
        writes = []
        for _ in range(4):
            client, transport = client_of(app, asyncio.get_running_loop())
            # None of those before has had its turn of the loop yet.
            client.data_received(question)
            writes.append(transport.write)
        at_once = [write.called for write in writes]
        while not all(write.called for write in writes):
            await asyncio.sleep(0)
        return at_once, [write.call_args_list[0].args[0] for write in writes]

    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service:
        app = create_app(service)
        refused_at_once, told = asyncio.run(crowd(app))
        assert refused_at_once == [False, False, True, True]
        assert [each.split()[1] for each in told] == [b"200", b"200", b"503", b"503"]
        assert app.state.load.coming == app.state.load.answering == 0


def test_the_next_request_has_its_time_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.web.shedding.ASKING_SECONDS", 0.0)
    question = b"GET /api/health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    async def dawdle(app: FastAPI) -> list[bool]:
        client, transport = client_of(app, asyncio.get_running_loop())
        client.data_received(question)
        while not client.cycle.response_complete:
            await asyncio.sleep(0)
        closed = [transport.close.called]
        client.data_received(question[:9])
        while not transport.close.called:
            client.data_received(b"x")
            await asyncio.sleep(0)
        return [*closed, transport.close.called]

    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as service:
        assert asyncio.run(asyncio.wait_for(dawdle(create_app(service)), TIMEOUT_S)) == [False, True]
