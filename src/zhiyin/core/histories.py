"""Events of users in the order of time, as compressed rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector
from zhiyin.core.events import MISSING_TIME

DAY = 86_400_000
"""Milliseconds."""


def liking(ratings: FloatVector, scale: tuple[float, float]) -> FloatVector:
    """(n,) the place of each of the `ratings` between the lowest and the highest of the `scale`, from 0 to 1."""
    low, high = scale
    return (ratings - low) / (high - low) if high > low else np.ones(len(ratings))


@dataclass(frozen=True, eq=False)
class History:
    """One user's events, oldest first; repeats are kept.

    items: (n,) rows of items. weights: (n,) what each event says of preference, below zero for dislike.
    ratings: (n,) on the data's own scale, NaN where the event is no rating. timestamps: (n,) epoch ms.
    """

    items: IntVector
    weights: FloatVector
    ratings: FloatVector
    timestamps: IntVector

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of_items(cls, items: IntVector | list[int]) -> Self:
        """A history of plain interactions of weight 1, for callers that know nothing more."""
        rows = np.asarray(items, np.int64)
        n = len(rows)
        return cls(rows, np.ones(n, np.float32), np.full(n, np.nan, np.float32), np.zeros(n, np.int64))

    def take(self, rows: IntVector | slice) -> Self:
        """The events at `rows`."""
        return type(self)(self.items[rows], self.weights[rows], self.ratings[rows], self.timestamps[rows])

    def last(self, n: int | None) -> Self:
        """The latest `n` events, all for None."""
        return self.take(slice(0 if n is None else max(0, len(self) - n), None))


@dataclass(frozen=True, eq=False)
class Interactions:
    """A sparse users x items matrix: `data[indptr[u]:indptr[u+1]]` are user `u`'s values at `indices`."""

    indptr: IntVector
    indices: IntVector
    data: FloatVector


@dataclass(frozen=True, eq=False)
class Histories:
    """Every user's `History`, one after another; user `u` owns `indptr[u]:indptr[u+1]`.

    seen: (events,) whether an event makes its item known to its user; None where all do. kinds: (events,) the place of
    what each is called in `kind_names`; None where nothing tells.
    """

    indptr: IntVector
    items: IntVector
    weights: FloatVector
    ratings: FloatVector
    timestamps: IntVector
    seen: BoolVector | None = None
    kinds: IntVector | None = None
    kind_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> IntVector:
        return np.diff(self.indptr)

    @property
    def users(self) -> IntVector:
        """(events,) the row of the user of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def places(self) -> IntVector:
        """(events,) the place of each event in its user's history, from 0."""
        return np.arange(len(self.items)) - np.repeat(self.indptr[:-1], self.lengths)

    def returns(self, pause_days: float) -> BoolVector:
        """(events,) whether its user came back with it, after more than `pause_days`; not where a time is unknown."""
        times = self.timestamps
        back = np.diff(times, prepend=times[:1]) > DAY * pause_days
        back &= (self.places > 0) & (times != MISSING_TIME) & (np.roll(times, 1) != MISSING_TIME)
        return back

    def of(self, user: int) -> History:
        span = slice(self.indptr[user], self.indptr[user + 1])
        return History(self.items[span], self.weights[span], self.ratings[span], self.timestamps[span])

    def keep(self, mask: np.ndarray) -> Self:
        """The events where `mask` (events,) is true; users keep their rows, some with nothing left."""
        lengths = np.bincount(self.users[mask], minlength=len(self))
        return type(self)(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            self.items[mask],
            self.weights[mask],
            self.ratings[mask],
            self.timestamps[mask],
            None if self.seen is None else self.seen[mask],
            None if self.kinds is None else self.kinds[mask],
            self.kind_names,
        )

    def known_to(self, user: int) -> IntVector:
        """Rows of the items that `user` knows, sorted."""
        span = slice(self.indptr[user], self.indptr[user + 1])
        items = self.items[span]
        return np.unique(items if self.seen is None else items[self.seen[span]])

    def matrix(self, n_items: int) -> Interactions:
        """Users x items, the weights of repeats added up; a pair whose sum is not above zero is left out."""
        keys, positions = np.unique(self.users * n_items + self.items, return_inverse=True)
        sums = np.bincount(positions, weights=self.weights, minlength=len(keys)).astype(np.float32)
        keys, sums = keys[sums > 0], sums[sums > 0]
        counts = np.bincount(keys // n_items, minlength=len(self))
        return Interactions(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), keys % n_items, sums)
