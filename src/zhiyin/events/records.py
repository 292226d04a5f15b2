"""What every format is read as: batches of text columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from zhiyin.core.arrays import IntVector

BATCH = 50_000


@dataclass(frozen=True, eq=False)
class Records:
    """cells: text columns "0", "1", ... in the order of the table's names, null where absent. rows: their numbers.

    read: how many records were met for this batch, refused ones included.
    """

    cells: pl.DataFrame
    rows: IntVector
    read: int


@dataclass(frozen=True, eq=False)
class Table:
    """names: the columns of the file. sequences: places of columns that hold several values, apart by spaces."""

    names: tuple[str, ...]
    batches: Iterator[Records]
    sequences: frozenset[int] = frozenset()
