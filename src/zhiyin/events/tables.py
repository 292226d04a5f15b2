"""A source of any format as a table; what could not be cut into fields is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zhiyin.core.errors import InputError
from zhiyin.events.delimited import delimited_table
from zhiyin.events.jsonlines import is_json, json_table
from zhiyin.events.parquet import PARQUET, parquet_table
from zhiyin.events.records import Table
from zhiyin.events.refusals import RefusalLog
from zhiyin.events.sources import as_file, open_bytes

_ARCHIVES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Beginnings of zip archives, which newer Excel workbooks are too, and of older workbooks."""


@contextmanager
def open_table(source: str | Path, kind: str, log: RefusalLog) -> Iterator[Table]:
    """The records of `source`. kind: "events", "items" or "users", which says what a file without header holds.

    Raises `InputError` for a file that cannot be opened, is empty or of no known format.
    """
    with open_bytes(source) as stream:
        if stream.head.startswith(_ARCHIVES):
            raise InputError(f"{stream.name}: an Excel workbook or a zip archive; save the sheet as CSV, or unpack it")
        if stream.head.startswith(PARQUET):
            with as_file(stream) as path:
                yield parquet_table(path, stream.name)
        elif is_json(stream.head, stream.name):
            with as_file(stream) as path:
                yield json_table(path, stream.name, log)
        else:
            yield delimited_table(stream, kind, log)
