"""What was asked, how it was answered and how long that took: in the measures, and a line each in the log."""

import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiyin.core.ids import fresh_id
from zhiyin.web.metrics import Metrics

HEADER = b"x-request-id"
_USABLE = re.compile(rb"[A-Za-z0-9_-]{1,64}")

LOG = structlog.get_logger("zhiyin.requests")


class Journal:
    """Gives every request an id, its own one where it brought one, which the answer carries and every line of the log.

    A line names the pattern of the route, never the path: neither people nor keys are told to the log. What removes or
    administers something is marked as `audit`, with the id of the key that did it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # What puts the answer on the wire leaves the body out.
            scope = {**scope, "method": "GET"}
        brought = dict(scope["headers"]).get(HEADER, b"")
        request_id = brought if _USABLE.fullmatch(brought) else fresh_id().encode()
        began, status = time.perf_counter(), 500

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id)]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                await self._app(scope, receive, named)
            finally:
                seconds = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.answered(route, status, seconds)
                self._tell(scope, route, status, seconds)

    def _tell(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        state = scope.get("state", {})
        caller = state.get("caller")
        told = {"method": scope["method"], "route": route, "status": status, "ms": round(1000 * seconds, 2)}
        if caller is not None:
            told["key"] = caller.key_id
        if state.get("audit") or scope["method"] == "DELETE":
            told["audit"] = True
        LOG.info("answered", **told)
