"""What all text encoders share: which items have a text, and vectors of unit length."""

from collections.abc import Callable, Sequence

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content


def unit_vectors(
    contents: Sequence[Content], read: Callable[[list[str]], FloatMatrix], width: Callable[[], int]
) -> FloatMatrix:
    """(n, dim) float32 of unit length, zeros for a text that is absent or blank.

    read: the other texts to (texts, dim) vectors of any length. width: dim, asked for where no text is left to read.
    """
    texts = [content.text or "" for content in contents]
    present = [row for row, text in enumerate(texts) if text.strip()]
    if not present:
        return np.zeros((len(texts), width()), np.float32)
    found = np.asarray(read([texts[row] for row in present]), np.float32)
    vectors = np.zeros((len(texts), found.shape[1]), np.float32)
    vectors[present] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return vectors
