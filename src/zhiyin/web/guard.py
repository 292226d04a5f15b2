"""What holds for every request and answer, whatever it is about."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiyin.web.errors import error_answer

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20

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


class Guard:
    """Caps the size of bodies, declared or not, and puts the security headers on every answer, also on one that
    tells of an unexpected error: what went wrong is logged, the client learns nothing of the inside."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > self._limit:
                refusal = error_answer(413, f"the body is larger than {self._limit} bytes; send less at a time")
                await refusal(scope, receive, guarded)
                return
            if not message.get("more_body"):
                break
        pending: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> Message:
            return pending.pop() if pending else await receive()

        try:
            await self._app(scope, replayed, guarded)
        except Exception:
            if started:
                raise
            LOG.exception("a request failed unexpectedly")
            answer = error_answer(500, "something went wrong here; the log of the server says what")
            await answer(scope, replayed, guarded)
