"""Tables that rows are added to, without copying those that are there."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPARE = 0.25
"""Room behind the rows, of their number, once they had to be copied."""


class Growing:
    """A table (n, width) that never changes; one with more rows shares its memory where there is room behind it."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._room = _Room(rows, len(rows))
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def with_more(self, rows: NDArray[Any]) -> "Growing":
        """The table with `rows` (m, width) behind its own. Safe to ask for from several threads."""
        n = len(self.rows)
        room = self._room if self._room.taken(n, n + len(rows)) else _Room.over(self.rows, n + len(rows))
        room.memory[n : n + len(rows)] = rows
        other = Growing(room.memory[: n + len(rows)])
        other._room = room
        return other


class _Room:
    """Memory (capacity, width), of which the first `used` rows are some table's."""

    def __init__(self, memory: NDArray[Any], used: int) -> None:
        self.memory = memory
        self._used = used
        self._taking = threading.Lock()

    @classmethod
    def over(cls, rows: NDArray[Any], used: int) -> "_Room":
        memory = np.empty((used + int(SPARE * used), *rows.shape[1:]), rows.dtype)
        memory[: len(rows)] = rows
        return cls(memory, used)

    def taken(self, start: int, end: int) -> bool:
        """Takes the rows from `start` to `end`, where they are there and nobody's."""
        with self._taking:
            free = start == self._used and end <= len(self.memory)
            if free:
                self._used = end
            return free
