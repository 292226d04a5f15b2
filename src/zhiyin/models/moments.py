"""The popularity of the moment, which gradient models learn around instead of learning by heart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhiyin.core.arrays import IntVector
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import DAY, Histories

MOST_SPANS = 200
MOST_CELLS = 20_000_000

PSEUDO_EVENTS = 100.0
"""Events of the time before, shared out as those were, that stand behind the recent ones."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Log popularity of every item at a number of moments, each told by the events before it alone.

    opens: (s - 1,) epoch ms at which the spans of time after the first begin. logs: (s + 1, n_items) float32; row `i`
    holds when span `i` opens, the last row now.
    """

    opens: IntVector
    logs: NDArray[np.float32]

    @classmethod
    def of(cls, histories: Histories, n_items: int, now: int, half_life_days: float | None) -> "Moments":
        """Spans hold equally many events; an event of unknown time counts like the oldest known one.

        half_life_days: None gives every moment the popularity of the whole period, as does a log without any times.
        """
        times = _known(histories.timestamps)
        if half_life_days is None or not len(times) or times[0] == MISSING_TIME:
            whole = np.bincount(histories.items, minlength=n_items) + 1.0
            return cls(np.zeros(0, np.int64), np.tile(np.log(whole / whole.sum()), (2, 1)).astype(np.float32))
        spans = int(np.clip(MOST_CELLS // max(1, n_items), 8, MOST_SPANS))
        opens = np.unique(np.quantile(times, np.arange(1, spans) / spans, method="higher")).astype(np.int64)
        span = np.searchsorted(opens, times, side="right")
        order = np.argsort(span, kind="stable")
        ends = np.searchsorted(span[order], np.arange(len(opens) + 1), side="right")
        logs = np.empty((len(opens) + 2, n_items), np.float32)
        recent, earlier = np.zeros(n_items), np.ones(n_items)
        before, first = int(times.min()), 0
        logs[0] = -np.log(n_items)
        for row, (end, moment) in enumerate(zip(ends, [*opens.tolist(), now], strict=True), start=1):
            events = order[first:end]
            fading = np.exp2(-np.maximum(moment - times[events], 0) / (DAY * half_life_days))
            recent *= np.exp2(-max(moment - before, 0) / (DAY * half_life_days))
            recent += np.bincount(histories.items[events], fading, n_items)
            earlier += np.bincount(histories.items[events], minlength=n_items)
            share = (recent + PSEUDO_EVENTS * earlier / earlier.sum()) / (recent.sum() + PSEUDO_EVENTS)
            logs[row] = np.log(share)
            before, first = moment, end
        return cls(opens, logs)

    def rows(self, timestamps: IntVector) -> IntVector:
        """(n,) the row of `logs` that holds at each time."""
        return np.searchsorted(self.opens, timestamps, side="right").astype(np.int64)


def _known(timestamps: IntVector) -> IntVector:
    """Times with the oldest known one in place of those that are missing, unless all are."""
    missing = timestamps == MISSING_TIME
    if missing.all() or not missing.any():
        return timestamps
    return np.where(missing, timestamps[~missing].min(), timestamps)
