"""Requests to servers that speak OpenAI's API, each answered within a deadline however slowly its bytes come."""

import http.client
import io
import json
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from zhiyin.core.errors import ConfigError, RefusedTextError

HEADERS = {"Content-Type": "application/json", "User-Agent": "zhiyin"}

PART_BYTES = 1 << 16
MAX_BYTES = 1 << 24
"""Of one answer: 32 vectors of 8,192 numbers are a third of it."""

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""

OF_THE_TEXT = frozenset({400, 413, 422})
"""Statuses that may be about what was sent: too long, or caught by a filter."""

_ARGUMENT = re.compile(r"(?P<model>.+)@(?P<url>https?://[^\s@]+)")


@dataclass(frozen=True)
class Server:
    """A model behind one path of an API. wanted: what it answers with, in messages.

    key_variable: name of the environment variable that holds the key, if one is needed.
    """

    model: str
    base: str
    path: str
    wanted: str
    key_variable: str

    @classmethod
    def named(cls, argument: str, path: str, wanted: str, key_variable: str) -> "Server":
        """argument: MODEL@URL, the URL without `path`. Raises `ConfigError` for another form."""
        found = _ARGUMENT.fullmatch(argument)
        if found is None:
            raise ConfigError(f"{argument!r} is not MODEL@URL, as in m@http://localhost:8080/v1")
        return cls(found["model"], found["url"].rstrip("/"), path, wanted, key_variable)

    @property
    def url(self) -> str:
        return f"{self.base}/{self.path}"

    def ask(self, body: Mapping[str, Any], deadline: float, pause: float | None = None) -> bytes:
        """The answer to `body` and the name of the model, within `deadline` seconds.

        pause: seconds before a second try after a passing failure, twice as long before each further one; None tries
        once. Raises `ConfigError` where the server is not reached in time or refuses, `RefusedTextError` where that may
        be about the texts in `body`.
        """
        request = urllib.request.Request(  # noqa: S310  the scheme was checked
            self.url, json.dumps({"model": self.model, **body}).encode(), HEADERS
        )
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"the environment variable {self.key_variable} holds characters that no key has; set it anew"
            )
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        end = time.monotonic() + deadline
        while True:
            try:
                with _opener().open(request, timeout=max(end - time.monotonic(), 0.001)) as response:
                    return b"".join(_parts(response))
            except urllib.error.HTTPError as error:
                with error:
                    failure = f"status {error.code}, {_start(error)}"
                if error.code not in PASSING:
                    kind = RefusedTextError if error.code in OF_THE_TEXT else ConfigError
                    raise kind(f"{self.url}: {failure}; {self._advice(error.code)}") from error
            except (OSError, http.client.HTTPException) as error:
                failure = str(error) or type(error).__name__
            if pause is None or time.monotonic() + pause > end:
                raise ConfigError(
                    f"{self.url}: no {self.wanted} within {deadline:g} s ({failure}); "
                    "see that the server runs and is reached from here, then try again: what was done so far is kept"
                )
            time.sleep(pause)
            pause *= 2

    def _advice(self, status: int) -> str:
        if status in {401, 403}:
            return f"set the environment variable {self.key_variable} to a key that may use {self.model!r}"
        if status in {404, 405} or 300 <= status < 400:
            return f"see that the URL ends where /{self.path} follows and that the server has a model {self.model!r}"
        return f"see what the server asks of requests to {self.model!r}"


def _parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
    size = 0
    while part := response.read1(PART_BYTES):
        size += len(part)
        if size > MAX_BYTES:
            raise http.client.HTTPException(f"the answer is longer than {MAX_BYTES:,} bytes")
        yield part


def _start(error: urllib.error.HTTPError) -> str:
    """The beginning of the server's own words, in one line."""
    try:
        return " ".join(error.read(1_000).decode("utf-8", "replace").split())[:200] or str(error.reason)
    except (OSError, http.client.HTTPException):
        return str(error.reason)


class _Arriving(io.RawIOBase):
    """What a socket receives until its timeout, counted from now and not, as its own is, from the latest byte."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._socket, self._raw = sock, raw
        self._end = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        with suppress(TimeoutError):
            if left > 0:
                self._socket.settimeout(left)
                return self._raw.readinto(buffer)
        raise TimeoutError("the answer comes too slowly")

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Arriving(sock, self.fp.detach()))


class _Connection(http.client.HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        end = time.monotonic() + (self.timeout or 0.0)
        super().connect()
        self.sock.settimeout(max(end - time.monotonic(), 0.001))


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self) -> None:
        super().__init__()
        self._trusted = ssl.create_default_context()

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request, context=self._trusted)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Texts go to the host that was named, and to no other."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Http, _Https, _NoRedirects)
