"""External ids and the rows that stand for them inside."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from zhiyin.core.arrays import IntVector, TextVector
from zhiyin.core.errors import InputError
from zhiyin.core.events import text

UNKNOWN = -1
"""Row of an id that the vocabulary does not hold."""


class Vocabulary:
    """An immutable two-way map between ids (`str`) and rows (0 .. n-1)."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids: TextVector = text(ids)
        if len(self._rows) != len(self.ids):
            raise InputError("a vocabulary holds each id once")

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {identifier: row for row, identifier in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._rows

    def row(self, identifier: str) -> int:
        """The row of `identifier`, or `UNKNOWN`."""
        return self._rows.get(identifier, UNKNOWN)

    def rows(self, identifiers: Sequence[str] | TextVector) -> IntVector:
        """(n,) rows, `UNKNOWN` where an id is not held."""
        return np.fromiter((self._rows.get(i, UNKNOWN) for i in identifiers), np.int64, len(identifiers))
