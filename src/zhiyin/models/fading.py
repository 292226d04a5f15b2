"""Every place of a history as what came before it and what comes behind, fading with the distance."""

import operator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.histories import Histories
from zhiyin.models.inputs import Sparse, parts_of
from zhiyin.models.neighbours import norms

TRIFLE = 1e-2
"""Events that count less are not read."""

EVENTS_READ = 1 << 23
"""Events, each as often as it is read, whose sums are made at a time."""


@dataclass(frozen=True)
class Fading:
    """past: rates per event before a place, side by side. ahead: rate behind it, of `horizon` events."""

    past: tuple[float, ...]
    ahead: float
    horizon: int

    @property
    def units(self) -> FloatVector:
        """(rates,) what a history of different items is multiplied by to be of length 1."""
        return np.sqrt(1.0 - np.exp(-2.0 * np.array(self.past)))

    @property
    def window(self) -> int:
        """Events before a place that are read at the slowest rate."""
        return max(map(_window, self.past))

    def left(self, n: int) -> FloatMatrix:
        """(rates, n) what is left of the latest `n` events, the oldest first."""
        ages = np.arange(n)[::-1]
        read = ages < np.array([[_window(rate)] for rate in self.past])
        left: FloatMatrix = self.units[:, None] * np.exp(-np.outer(self.past, ages)) * read
        return left

    def sums(self, histories: Histories, users: IntVector, n_items: int, bound: float) -> Sparse:
        """(rates * n_items, rates * n_items + n_items) float32: X'X and X'Y side by side, over all places of these
        users' histories but the last ones. What one user adds is scaled down to a norm of at most `bound`.
        """
        read = histories.lengths[users] * (sum(map(_window, self.past)) + self.horizon)
        parts = parts_of(users, read, EVENTS_READ)
        return reduce(operator.add, (self._sums(histories, part, n_items, bound) for part in parts))

    def _sums(self, histories: Histories, users: IntVector, n_items: int, bound: float) -> Sparse:
        first, last = histories.indptr[users], histories.indptr[users + 1] - 1
        places = np.maximum(last - first, 0)
        user = np.repeat(np.arange(len(users)), places)
        events = np.arange(len(user)) + np.repeat(first - np.cumsum(places) + places, places)
        back, ahead = events - first[user], last[user] - events
        before: Sparse = sparse.hstack(
            [
                unit * _faded(histories.items, events, -np.arange(_window(rate)), back, rate=rate, width=n_items)
                for unit, rate in zip(self.units, self.past, strict=True)
            ],
            format="csr",
        )
        steps = np.arange(1, self.horizon + 1)
        behind = _faded(histories.items, events, steps, ahead, rate=self.ahead, width=n_items)
        length = norms(before)
        added = np.bincount(user, length * (length + norms(behind)), len(users))
        scale = sparse.diags_array(np.sqrt(bound / np.maximum(added, bound))[user])
        before, behind = (sparse.csr_matrix(scale @ each, dtype=np.float32) for each in (before, behind))
        return sparse.hstack([before.T @ before, before.T @ behind], format="csr")


def _window(rate: float) -> int:
    return 1 + int(-np.log(TRIFLE) / rate)


def _faded(
    items: IntVector, events: IntVector, steps: IntVector, room: IntVector, *, rate: float, width: int
) -> Sparse:
    """(events, width): items `steps` away from each event, where there is `room`, fading with the distance."""
    there = room[:, None] >= np.abs(steps)
    rows, ages = np.nonzero(there)
    starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    cells = np.exp(-rate * ages), items[events[rows] + steps[ages]], starts
    matrix: Sparse = sparse.csr_matrix(cells, (len(events), width))
    matrix.sum_duplicates()
    return matrix
