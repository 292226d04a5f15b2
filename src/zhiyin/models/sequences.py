"""Histories as padded arrays, for the models that read them in order."""

from collections.abc import Sequence

import numpy as np

from zhiyin.core.arrays import IntMatrix, IntVector
from zhiyin.core.dataset import Query


def liked(query: Query, length: int, n_items: int) -> IntVector:
    """(<= length,) places in the history of its latest events that speak for a known item, oldest first."""
    history = query.history
    known = (history.items >= 0) & (history.items < n_items)
    return np.flatnonzero(known & (history.weights > 0))[-length:]


def alike(lengths: IntVector) -> list[IntVector]:
    """Places of histories in groups, so that padding to the longest of a group at most doubles it."""
    order = np.argsort(-lengths, kind="stable")
    # Lengths from one power of two to the next go together.
    size = np.frexp(np.maximum(lengths[order] - 1, 0))[1]
    return np.split(order, 1 + np.flatnonzero(np.diff(size)))


def pad(sequences: Sequence[IntVector], width: int, padding: int) -> IntMatrix:
    """(n, width): each sequence from the left, `padding` behind it, so that a causal model never reads it."""
    rows = np.full((len(sequences), width), padding, np.int64)
    for row, sequence in enumerate(sequences):
        rows[row, : len(sequence)] = sequence
    return rows
