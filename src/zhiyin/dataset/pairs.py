"""Items that people took one after the other."""

import numpy as np

from zhiyin.core.arrays import IntMatrix
from zhiyin.core.histories import Histories


def following_pairs(histories: Histories) -> IntMatrix:
    """(n, 2) rows of two different items that one user liked, the second next after the first; repeats are kept."""
    liked = histories.keep(histories.weights > 0)
    pairs = np.stack([liked.items[:-1], liked.items[1:]], axis=1)
    found: IntMatrix = pairs[(liked.places[1:] > 0) & (pairs[:, 0] != pairs[:, 1])]
    return found
