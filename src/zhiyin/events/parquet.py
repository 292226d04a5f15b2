"""Parquet files, of which each row group is decoded once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.datatypes import DataTypeClass

from zhiyin.core.errors import InputError
from zhiyin.events.records import BATCH, Records, Table

PARQUET = b"PAR1"
SPAN = 500_000
"""Rows of neighbouring row groups that are read together; of a larger row group, all."""


def parquet_table(path: Path, name: str) -> Table:
    """The rows of a file. name: what to call it. Memory grows with the largest row group, not with the file.

    Raises `InputError` for a damaged file.
    """
    try:
        schema = pl.scan_parquet(path).collect_schema()
        groups = row_groups(path)
    except (pl.exceptions.PolarsError, OSError, LookupError, ValueError) as error:
        raise InputError(f"{name}: no readable Parquet file ({error})") from error
    return Table(tuple(schema.names()), _batches(path, name, schema, groups))


def _batches(path: Path, name: str, schema: pl.Schema, groups: list[int]) -> Iterator[Records]:
    texts = [_as_text(pl.col(column), kind).alias(str(place)) for place, (column, kind) in enumerate(schema.items())]
    start = 0
    for rows in _spans(groups):
        # Slices that cut a row group would decode its beginning again for each of them; one scan of the whole file
        # would decode far ahead of what is taken from it.
        span = pl.scan_parquet(path).slice(start, rows).select(texts)
        try:
            for cells in span.collect_batches(chunk_size=BATCH):
                yield Records(cells, np.arange(start + 1, start + cells.height + 1), cells.height)
                start += cells.height
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{name}: damaged Parquet file ({error})") from error


def _spans(groups: list[int]) -> Iterator[int]:
    rows = 0
    for group in groups:
        if rows and rows + group > SPAN:
            yield rows
            rows = 0
        rows += group
    yield rows


def row_groups(path: Path) -> list[int]:
    """How many rows each row group has, by the footer (https://parquet.apache.org/docs/file-format/metadata/)."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        metadata = _Thrift(file.read(length)).struct()
    return [group[3] for group in metadata[4]]


class _Thrift:
    """Values by field number from Thrift's compact protocol.

    Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._varint())
            case 9 | 10:
                head = self._byte()
                size = head >> 4 if head >> 4 < 15 else self._varint()
                return [self._value(head & 15) for _ in range(size)]
            case 12:
                return self.struct()
        raise ValueError(f"a footer with a value of kind {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
        return number | byte << shift

    def _integer(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)


def _as_text(column: pl.Expr, kind: pl.DataType | DataTypeClass) -> pl.Expr:
    if isinstance(kind, pl.Array):
        column, kind = column.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.List):
        return column.list.eval(_as_text(pl.element(), kind.inner)).list.join("|")
    return _castable(column, kind).cast(pl.String)


def _castable(column: pl.Expr, kind: pl.DataType | DataTypeClass) -> pl.Expr:
    """The column as something that can be cast to text, times as numbers: ms since 1970, or seconds of a duration."""
    if kind.is_float():
        # Ids with gaps are stored as floats by data-frame libraries: 17850.0 is customer 17850.
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2.0**53)
        return (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        )
    if isinstance(kind, pl.Datetime):
        return (column.dt.convert_time_zone("UTC") if kind.time_zone else column).dt.epoch("ms")
    if isinstance(kind, pl.Date):
        return column.dt.to_string("%Y-%m-%d")
    if isinstance(kind, pl.Duration):
        return column.dt.total_milliseconds() / 1000
    if isinstance(kind, pl.Binary):
        return column.map_elements(lambda cell: cell.decode("utf-8", "replace"), return_dtype=pl.String)
    return column
