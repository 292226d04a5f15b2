"""What encoders of files share: each file is cut into pieces, whose vectors are averaged; what is broken is told."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zhiyin.core.arrays import FloatMatrix
from zhiyin.encoders.media import UnreadableError

ITEMS = 16
"""Items decoded at a time: a decoded frame takes more room than its vector."""

PIECES = 16
"""Pieces a model reads at a time."""

SHOWN = 80

LOG = logging.getLogger(__name__)

Pieces: TypeAlias = NDArray[np.float32]
"""(p, ...): frames of a picture or video, windows of a sound."""


def unit_vectors(
    name: str,
    places: Sequence[str | None],
    cut: Callable[[str], Pieces],
    read: Callable[[Pieces], FloatMatrix],
    width: Callable[[], int],
) -> FloatMatrix:
    """(n, dim) float32: the mean over the pieces of each file, of unit length.

    cut: a place to its pieces, none where there is nothing in it. read: pieces to their vectors (p, dim). A place that
    `cut` finds unreadable has a zero row, as an absent one; how many there are, and the first, is logged as a warning.
    """
    vectors = np.zeros((len(places), width()), np.float32)
    unreadable: list[str] = []
    present = [row for row, place in enumerate(places) if place and place.strip()]
    for start in range(0, len(present), ITEMS):
        rows: list[int] = []
        pieces: list[Pieces] = []
        for row in present[start : start + ITEMS]:
            place = str(places[row]).strip()
            try:
                found = cut(place)
            except UnreadableError as error:
                unreadable.append(f"{place[:SHOWN]} ({error})")
                continue
            rows += [row] * len(found)
            pieces += [found] if len(found) else []
        if rows:
            whole = np.concatenate(pieces)
            parts = [read(whole[at : at + PIECES]) for at in range(0, len(whole), PIECES)]
            np.add.at(vectors, rows, np.concatenate(parts))
    if unreadable:
        LOG.warning("%s: %d of %d files are not read: %s", name, len(unreadable), len(present), unreadable[0])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
