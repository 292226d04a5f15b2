"""Vectors by HTTP from a server that speaks OpenAI's `POST /v1/embeddings`: a hosted model, vLLM, llama.cpp, Ollama."""

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.texts import unit_vectors

KEY_VARIABLE = "EMBEDDINGS_API_KEY"
HEADERS = {"Content-Type": "application/json", "User-Agent": "zhiyin"}

BATCH = 32
CHARACTERS = 8_000
"""Of a longer text the beginning is sent: servers refuse what has more than about so many tokens."""

PART_BYTES = 1 << 16

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""

_ARGUMENT = re.compile(r"(?P<model>.+)@(?P<url>https?://[^\s@]+)")


class Endpoint:
    """Vectors of `MODEL@URL`, 32 texts a request, in the length that the server gives them.

    The fingerprint is the model's name and its URL: where another model answers under the same name, delete its
    folder of kept vectors.
    """

    name: ClassVar[str] = "endpoint"
    modalities = frozenset({"text"})

    def __init__(self, argument: str, deadline: float = 60.0, pause: float = 0.5) -> None:
        """argument: as in `text-embedding-3-small@https://api.openai.com/v1`; the key is read from the environment.

        deadline: seconds within which one request, tried again after each passing failure, must be answered. pause:
        seconds before the second try, twice as long before each further one. Raises `ConfigError` for another form.
        """
        found = _ARGUMENT.fullmatch(argument)
        if found is None:
            raise ConfigError(f"encoder {self.name!r}: {argument!r} is not MODEL@URL, as in m@http://localhost:8080/v1")
        self._model, url = found["model"], found["url"].rstrip("/")
        self._url = f"{url}/embeddings"
        self._deadline, self._pause = deadline, pause
        self._opener = urllib.request.build_opener(_NoRedirects)
        self.fingerprint = f"{self.name}/{self._model}@{url}"

    @cached_property
    def dim(self) -> int:
        """Learned from an answer."""
        return int(self._request(["dimension"]).shape[1])

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        """Raises `ConfigError` where the server is not reached in time, refuses, or answers something else."""
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        cut = [text.strip()[:CHARACTERS] for text in texts]
        batches = [self._request(cut[at : at + BATCH]) for at in range(0, len(cut), BATCH)]
        if len({batch.shape[1] for batch in batches}) > 1:
            raise ConfigError(f"{self._url}: vectors of {self._model!r} differ in length between answers")
        return np.concatenate(batches)

    def _request(self, texts: list[str]) -> FloatMatrix:
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        request = urllib.request.Request(  # noqa: S310  the scheme was checked
            self._url, json.dumps(body).encode(), HEADERS
        )
        key = os.environ.get(KEY_VARIABLE)
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        return _vectors(self._answer(request), len(texts), self._url)

    def _answer(self, request: urllib.request.Request) -> bytes:
        began, pause = time.monotonic(), self._pause
        while True:
            left = max(began + self._deadline - time.monotonic(), 0.001)
            try:
                with self._opener.open(request, timeout=left) as response:
                    return b"".join(_arriving(response, began + self._deadline))
            except urllib.error.HTTPError as error:
                with error:
                    failure = f"status {error.code}, {_start(error)}"
                if error.code not in PASSING:
                    raise ConfigError(f"{self._url}: {failure}; {self._advice(error.code)}") from error
            except (OSError, http.client.HTTPException) as error:
                failure = str(error) or type(error).__name__
            if time.monotonic() + pause > began + self._deadline:
                raise ConfigError(
                    f"{self._url}: no vectors within {self._deadline:g} s ({failure}); "
                    "see that the server runs and is reached from here, then start again: what was encoded is kept"
                )
            time.sleep(pause)
            pause *= 2

    def _advice(self, status: int) -> str:
        if status in {401, 403}:
            return f"set the environment variable {KEY_VARIABLE} to a key that may use {self._model!r}"
        if status in {404, 405} or 300 <= status < 400:
            return f"see that the URL ends where /embeddings follows and that the server has a model {self._model!r}"
        return f"see what the server asks of requests to {self._model!r}"


def _arriving(response: http.client.HTTPResponse, end: float) -> Iterator[bytes]:
    """The answer part by part; a server that never stops sending is as late as one that sends nothing."""
    while part := response.read1(PART_BYTES):
        yield part
        if time.monotonic() > end:
            raise TimeoutError("the answer comes too slowly")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Texts go to the host that was named, and to no other."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


def _start(error: urllib.error.HTTPError) -> str:
    """The beginning of the server's own words, in one line."""
    try:
        return " ".join(error.read(1_000).decode("utf-8", "replace").split())[:200] or str(error.reason)
    except (OSError, http.client.HTTPException):
        return str(error.reason)


def _vectors(answer: bytes, n: int, url: str) -> FloatMatrix:
    """(n, dim) float32 in the order of the request."""
    try:
        rows = sorted(json.loads(answer)["data"], key=lambda row: int(row["index"]))
        vectors = np.array([row["embedding"] for row in rows], np.float32)
        indices = [int(row["index"]) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{url}: the answer holds no embeddings; see that the URL is an OpenAI-compatible one"
        ) from error
    if indices != list(range(n)) or vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise ConfigError(f"{url}: the answer does not hold one vector of finite numbers for each of {n} texts")
    return vectors
