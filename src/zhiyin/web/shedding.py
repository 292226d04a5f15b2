"""Refusing what is too much before it is read.

To read a request and refuse it like any other answer takes a seventh of what a list takes: a server that is asked for
three times what it can answer would do hardly anything else. A question without a body is refused on a connection that
stays, since to make another one takes longer than to refuse.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_AT_ONCE = 48
"""Requests that are answered at a time. Of more a machine answers no more in a second, and each of them later."""
RETRY_SECONDS = 1
ASKING_SECONDS = 10.0
"""Within which the headers of a request are there, the first one's from when the connection was made."""
HEALTH = "/api/health/"
TOO_MUCH = "more is asked than can be answered now; ask again later"

_BODY = json.dumps({"error": TOO_MUCH, "problems": []}, separators=(",", ":")).encode()
_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"retry-after: %d\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"content-security-policy: default-src 'none'\r\n"
) % (len(_BODY), RETRY_SECONDS)
_ABOUT_HEALTH = f"GET {HEALTH}".encode()
REFUSAL = b"%b\r\n%b" % (_HEAD, _BODY)
LAST_REFUSAL = b"%bconnection: close\r\n\r\n%b" % (_HEAD, _BODY)
_LINE = rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\x00]*)\r\n"
_QUESTION = re.compile(rb"GET [!-~]+ HTTP/1\.1\r\n((?:" + _LINE + rb")+)\r\n")
_LINES = re.compile(_LINE)
_NOT_ALONE = {b"content-length", b"transfer-encoding", b"upgrade", b"expect"}


class Load:
    """What one application answers now. coming: requests that were read and wait for their turn of the loop. Of many
    that come at the same moment all would be let in otherwise, and refused one by one behind the door. held: bytes of
    bodies that are on their way. refused: told of each request that is refused before it is read.
    """

    def __init__(self, at_once: int = MAX_AT_ONCE, refused: Callable[[], None] = lambda: None) -> None:
        self.at_once = at_once
        self.answering = 0
        self.coming = 0
        self.held = 0
        self.refused = refused

    @property
    def full(self) -> bool:
        return self.answering >= self.at_once

    @property
    def filling(self) -> bool:
        """Whether it is full once all have had their turn."""
        return self.answering + self.coming >= self.at_once

    def had_its_turn(self) -> None:
        """One that was coming is counted otherwise now, if it is answered."""
        self.coming -= 1


class SheddingProtocol(H11Protocol):
    """HTTP by h11, which bounds how long the headers of a request are, for an application with a `Load`.

    What tells how the server is, under `HEALTH`, is read however much else is asked.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        application: Any = self.config.loaded_app
        while not hasattr(application, "state"):
            application = application.app
        self._load: Load = application.state.load
        # Told by `_crowded`: what the server itself refuses then is also who asks how it is.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._asking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._asked()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        full = self._load.filling or self._crowded
        if full and self._between_requests() and not data.startswith(_ABOUT_HEALTH):
            self._load.refused()
            self._refuse(data)
            return
        before = self.cycle
        if self._answered_early():
            self._go_on(data)
        else:
            super().data_received(data)
        if self.cycle is not before:
            self._asked()
            self._load.coming += 1
            # Behind the first step of the request, which was put there by reading it.
            self.loop.call_soon(self._load.had_its_turn)
        elif self._asking is None and self._begun():
            self._expect()

    def _expect(self) -> None:
        """A client that dawdles takes no connection from others."""
        self._asking = self.loop.call_later(ASKING_SECONDS, self.transport.close)

    def _asked(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _refuse(self, data: bytes) -> None:
        # Who asks and does not read has the last one.
        unread = self.transport.get_write_buffer_size() > 0
        if self._crowded or unread or not is_whole_question(data):
            self.transport.write(LAST_REFUSAL)
            self.transport.close()
            return
        self.transport.write(REFUSAL)
        self._asked()
        self._wait_for_another()

    def _go_on(self, data: bytes) -> None:
        """Reads on in a body whose request is answered: their time to end it began with the answer, and does not begin
        anew with every piece of it.
        """
        try:
            self.conn.receive_data(data)
            self.handle_events()
        except h11.LocalProtocolError:
            # It is broken, and what there was to say has been said.
            self.transport.close()
            return
        if self._between_requests():
            self._wait_for_another()

    def _wait_for_another(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    @property
    def _crowded(self) -> bool:
        """Whether there are as many connections as there may be."""
        return self._most is not None and len(self.connections) >= self._most

    def _answered_early(self) -> bool:
        """Whether a request is answered whose body is still on its way."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _between_requests(self) -> bool:
        """Whether no request was begun that is not answered, or whose body is still on its way."""
        return self._all_answered() and not self.conn.trailing_data[0]

    def _begun(self) -> bool:
        """Whether of the next request a part of the headers is there."""
        return self._all_answered() and bool(self.conn.trailing_data[0])

    def _all_answered(self) -> bool:
        answered = self.cycle is None or self.cycle.response_complete
        return answered and self.conn.their_state is h11.IDLE


def is_whole_question(data: bytes) -> bool:
    """Whether that is one request from its beginning to its end, with nothing behind its headers, by somebody who may
    ask again on the same connection.
    """
    question = _QUESTION.fullmatch(data)
    if question is None:
        return False
    headers = [(name.lower(), value.strip().lower()) for name, value in _LINES.findall(question[1])]
    names = {name for name, _ in headers}
    stays = all(value == b"keep-alive" for name, value in headers if name == b"connection")
    return stays and b"host" in names and not names & _NOT_ALONE
