"""Vectors by HTTP from a server that speaks OpenAI's `POST /v1/embeddings`: a hosted model, vLLM, llama.cpp, Ollama."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.asking import Server
from zhiyin.encoders.texts import unit_vectors

KEY_VARIABLE = "EMBEDDINGS_API_KEY"

BATCH = 32
CHARACTERS = 8_000
"""Of a longer text the beginning is sent: servers refuse what has more than about so many tokens."""


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
        try:
            self._server = Server.named(argument, "embeddings", "vectors", KEY_VARIABLE)
        except ConfigError as error:
            raise ConfigError(f"encoder {self.name!r}: {error}") from error
        self._deadline, self._pause = deadline, pause
        self.fingerprint = f"{self.name}/{self._server.model}@{self._server.base}"

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
            raise ConfigError(f"{self._server.url}: vectors of {self._server.model!r} differ in length between answers")
        return np.concatenate(batches)

    def _request(self, texts: list[str]) -> FloatMatrix:
        answer = self._server.ask({"input": texts, "encoding_format": "float"}, self._deadline, self._pause)
        return _vectors(answer, len(texts), self._server.url)


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
