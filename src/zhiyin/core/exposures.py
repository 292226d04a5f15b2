"""What lists put before users, whether or not they took it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from zhiyin.core.arrays import BoolVector, IntVector


@dataclass(frozen=True, eq=False)
class Shown:
    """Items that one user was shown. items: (n,) rows. places: (n,) in their lists, from 1, 0 where unknown."""

    items: IntVector
    places: IntVector

    @classmethod
    def nothing(cls) -> Self:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def among(self, items: BoolVector) -> Self:
        """Of those `items` (n_items,) alone."""
        kept = items[self.items]
        return type(self)(self.items[kept], self.places[kept])


@dataclass(frozen=True, eq=False)
class Exposures:
    """Every user's, one after another, in the order of time; user `u` owns `indptr[u]:indptr[u+1]`.

    items, places: as in `Shown`. timestamps: epoch ms.
    """

    indptr: IntVector
    items: IntVector
    places: IntVector
    timestamps: IntVector

    def between(self, user: int, start: int, end: int) -> Shown:
        """What `user` was shown after `start` and up to `end`, epoch ms; each item where it was shown last."""
        first, last = self.indptr[user : user + 2]
        low, high = first + np.searchsorted(self.timestamps[first:last], (start, end), "right")
        # Of what is there several times, the first one is found.
        items, latest = np.unique(self.items[low:high][::-1], return_index=True)
        return Shown(items, self.places[low:high][::-1][latest])
