"""What holds for every request and answer, whatever it is about."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiyin.web.errors import error_answer
from zhiyin.web.shedding import HEALTH, RETRY_SECONDS, TOO_MUCH, Load

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
PLAIN = "identity"
MAX_HELD_BYTES = 1 << 26
"""Of all bodies that are on their way: a thousand clients that each send most of one fill no memory."""
CLIENT_SECONDS = 10.0
"""Within which a body has come, and a part of an answer is read: a client that dawdles holds nothing up."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
EMBEDDED = "/static/shop.js"
"""What other sites may load."""


def _written(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_HEADERS = _written(SECURITY_HEADERS)
_HEADERS_OF_EMBEDDED = _written({**SECURITY_HEADERS, "Cross-Origin-Resource-Policy": "cross-origin"})


def _told_later() -> Response:
    return error_answer(503, TOO_MUCH, headers={"Retry-After": str(RETRY_SECONDS)})


def _told_failed() -> Response:
    """To who asked when something unexpected was raised, which the log tells."""
    LOG.exception("a request failed unexpectedly")
    return error_answer(500, "something went wrong here; the log of the server says what")


Door: TypeAlias = Callable[[Scope], Awaitable[Response | None]]
"""The answer to those who stay outside, None for others."""


async def anybody(_: Scope) -> None:
    """To everybody."""


class Guard:
    """Caps how many requests are answered at once, and the size of bodies, declared or not, and how long they take; and
    puts the security headers on every answer, also on one that tells of an unexpected error: what went wrong is logged,
    the client learns nothing of the inside.

    What tells how the server is, under `HEALTH`, is answered however much else is. door: what those send who stay
    outside is not kept.
    """

    def __init__(
        self, app: ASGIApp, limit: int = MAX_BODY_BYTES, load: Load | None = None, door: Door = anybody
    ) -> None:
        self._app = app
        self._limit = limit
        self._load = load or Load()
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = counted = False

        async def guarded(message: Message) -> None:
            nonlocal started, counted
            if message["type"] == "http.response.start":
                started = True
                safe = _HEADERS_OF_EMBEDDED if scope["path"] == EMBEDDED else _HEADERS
                message = {**message, "headers": [*message.get("headers", ()), *safe]}
            elif counted and not message.get("more_body"):
                # The answer is made: how long the client takes to read it holds nobody else up.
                self._load.answering, counted = self._load.answering - 1, False
            async with asyncio.timeout(CLIENT_SECONDS):
                await send(message)

        outside = await self._outside(scope)
        body = bytearray()
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                there = await self._fill(body, receive) if outside is None else await self._pass(receive)
        except TimeoutError:
            there = True
            refusal: Response | None = error_answer(408, f"the body did not come within {CLIENT_SECONDS:g} seconds")
        else:
            refusal = outside or self._refusal(scope, body)
        finally:
            # What is read is small beside what waits to be: only bodies that are on their way add up.
            self._load.held -= len(body)
        if not there:
            return
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        pending: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> Message:
            return pending.pop() if pending else await receive()

        self._load.answering, counted = self._load.answering + 1, True
        try:
            await self._app(scope, replayed, guarded)
        except Exception:
            if started:
                raise
            await _told_failed()(scope, replayed, guarded)
        finally:
            self._load.answering -= counted

    async def _outside(self, scope: Scope) -> Response | None:
        """The answer to who may not come in. Who is looked up takes a place: strangers with keys that are none would
        keep every thread busy otherwise.
        """
        if self._load.full and not scope["path"].startswith(HEALTH):
            return _told_later()
        self._load.answering += 1
        try:
            return await self._door(scope)
        except Exception:
            return _told_failed()
        finally:
            self._load.answering -= 1

    def _refusal(self, scope: Scope, body: bytearray) -> Response | None:
        coding = Headers(scope=scope).get("content-encoding", PLAIN) if body else PLAIN
        if coding.strip().lower() != PLAIN:
            return error_answer(415, f"the body is sent as {coding!r:.40}, which is not read here: send it as it is")
        if len(body) > self._limit:
            return error_answer(413, f"the body is larger than {self._limit} bytes; send less at a time")
        if (self._load.full or self._load.held > MAX_HELD_BYTES) and not scope["path"].startswith(HEALTH):
            return _told_later()
        return None

    async def _fill(self, body: bytearray, receive: Receive) -> bool:
        """Reads the body, of one that is too large its beginning; whether the client is still there."""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return False
            part = message.get("body", b"")
            body += part
            self._load.held += len(part)
            full = len(body) > self._limit or self._load.held > MAX_HELD_BYTES
            if full or not message.get("more_body"):
                return True

    async def _pass(self, receive: Receive) -> bool:
        """Reads as much of a body as may come and keeps nothing of it; whether the client is still there. Who is
        answered in the middle of what they send may not hear it.
        """
        come, message = 0, await receive()
        while message["type"] == "http.request":
            come += len(message.get("body", b""))
            if come > self._limit or not message.get("more_body"):
                return True
            message = await receive()
        return False
