"""Every place of a history as what came before it and what comes behind, fading with the distance."""

import operator
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import Histories
from zhiyin.models.inputs import Sparse, parts_of
from zhiyin.models.neighbours import norms

TRIFLE = 1e-2
"""Steps that count less are not read."""

EVENTS_READ = 1 << 23
"""Events, each as often as it is read, whose sums are made at a time."""


@dataclass(frozen=True)
class Fading:
    """past: rates per step before a place, side by side. ahead: rate behind it, of `horizon` steps. together: a step is
    all events of one moment, such as the lines of an order, which are then of length 1 together; else every event is.
    """

    past: tuple[float, ...]
    ahead: float
    horizon: int
    together: bool = False

    @cached_property
    def units(self) -> FloatVector:
        """(rates,) what a history of different items is multiplied by to be of length 1."""
        return np.sqrt(1.0 - np.exp(-2.0 * np.array(self.past)))

    @cached_property
    def _windows(self) -> IntVector:
        """(rates, 1) steps that are read."""
        return np.array([[_window(rate)] for rate in self.past])

    def left(self, timestamps: IntVector) -> FloatMatrix:
        """(rates, k) what is left of the latest k events, the oldest first: of those that still count at some rate.

        timestamps: (n,) epoch ms.
        """
        if not self.together:
            return self._singly[:, max(0, self._singly.shape[1] - len(timestamps)) :]
        steps: IntVector = np.cumsum(self._begin(timestamps))
        last = steps[-1] if len(steps) else 0
        steps = steps[steps > last - self._windows.max()]
        left: FloatMatrix = self._left_at(last - steps) * _shares(steps)
        return left

    @cached_property
    def _singly(self) -> FloatMatrix:
        """(rates, longest) what is left where every event is a step."""
        return self._left_at(np.arange(self._windows.max())[::-1])

    def _left_at(self, ages: IntVector) -> FloatMatrix:
        """(rates, k) what is left of steps that are so many ago."""
        left: FloatMatrix = self.units[:, None] * np.exp(-np.outer(self.past, ages)) * (ages < self._windows)
        return left

    def sums(self, histories: Histories, users: IntVector, n_items: int, bound: float) -> Sparse:
        """(rates * n_items, rates * n_items + n_items) float32: X'X and X'Y side by side, over all places of these
        users' histories but the last ones. What one user adds is scaled down to a norm of at most `bound`.
        """
        read = histories.lengths[users] * (sum(map(_window, self.past)) + self.horizon)
        parts = parts_of(users, read, EVENTS_READ)
        return reduce(operator.add, (self._sums(histories, part, n_items, bound) for part in parts))

    def _sums(self, histories: Histories, users: IntVector, n_items: int, bound: float) -> Sparse:
        steps, owner = self._steps(histories, users, n_items)
        last = np.searchsorted(owner, owner, side="right") - 1
        places = np.flatnonzero(np.arange(len(owner)) < last)
        user, back, ahead = owner[places], places - np.searchsorted(owner, owner)[places], last[places] - places
        before: Sparse = sparse.hstack(
            [
                unit * _faded(len(owner), places, -np.arange(_window(rate)), back, rate=rate) @ steps
                for unit, rate in zip(self.units, self.past, strict=True)
            ],
            format="csr",
        )
        behind = _faded(len(owner), places, np.arange(1, self.horizon + 1), ahead, rate=self.ahead) @ steps
        length = norms(before)
        added = np.bincount(user, length * (length + norms(behind)), len(users))
        scale = sparse.diags_array(np.sqrt(bound / np.maximum(added, bound))[user])
        before, behind = (sparse.csr_matrix(scale @ each, dtype=np.float32) for each in (before, behind))
        return sparse.hstack([before.T @ before, before.T @ behind], format="csr")

    def _begin(self, timestamps: IntVector) -> BoolVector:
        """(n,) whether an event begins another step than the one before it."""
        if not self.together:
            return np.ones(len(timestamps), np.bool_)
        begin: BoolVector = (np.diff(timestamps, prepend=timestamps[:1] - 1) != 0) | (timestamps == MISSING_TIME)
        return begin

    def _steps(self, histories: Histories, users: IntVector, n_items: int) -> tuple[Sparse, IntVector]:
        """What each step of these users holds (steps, n_items), and the place of its user among them, in order."""
        lengths = histories.lengths[users]
        owner = np.repeat(np.arange(len(users)), lengths)
        events = np.arange(len(owner)) + np.repeat(histories.indptr[users] - np.cumsum(lengths) + lengths, lengths)
        begins = self._begin(histories.timestamps[events]) | (np.diff(owner, prepend=-1) != 0)
        starts = np.concatenate([np.flatnonzero(begins), [len(events)]])
        cells = _shares(np.cumsum(begins) - 1), histories.items[events], starts
        return sparse.csr_matrix(cells, (len(starts) - 1, n_items)), owner[begins]


def _window(rate: float) -> int:
    return 1 + int(-np.log(TRIFLE) / rate)


def _shares(steps: IntVector) -> FloatVector:
    """(n,) what each event is of its step, of length 1. steps: (n,) which it belongs to."""
    shares: FloatVector = np.bincount(steps)[steps] ** -0.5 if len(steps) else np.zeros(0)
    return shares


def _faded(n: int, places: IntVector, steps: IntVector, room: IntVector, *, rate: float) -> Sparse:
    """(places, n): what is left of those of `n` that are `steps` away from each of `places`, where there is `room`."""
    there = room[:, None] >= np.abs(steps)
    rows, ages = np.nonzero(there)
    starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return sparse.csr_matrix((np.exp(-rate * ages), places[rows] + steps[ages], starts), (len(places), n))
