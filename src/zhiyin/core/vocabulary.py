"""External ids and the rows that stand for them inside."""

from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from typing import Self

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

    def extended(self, ids: Sequence[str] | TextVector) -> Self:
        """With more `ids`, in the rows behind."""
        other = copy(self)
        other.ids = np.concatenate([self.ids, text(ids)])
        other._rows = self._rows | {identifier: row for row, identifier in enumerate(ids, len(self))}
        if len(other._rows) != len(other.ids):
            raise InputError("a vocabulary holds each id once")
        return other

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
