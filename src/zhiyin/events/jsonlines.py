"""JSON Lines: one object a line, whose keys are columns wherever in the file they first appear."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zhiyin.core.errors import InputError
from zhiyin.events.records import Records, Table
from zhiyin.events.refusals import SHOWN, Refusal, RefusalLog
from zhiyin.events.sources import blocks, open_bytes

KEYS = 1000
"""More different keys are values in the place of names, and would make as many columns."""


def is_json(head: bytes, name: str) -> bool:
    """Whether bytes of UTF-8 or UTF-16 begin with an object. Raises `InputError` for an array."""
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1]
    if start == b"[":
        raise InputError(f"{name}: a JSON array cannot be read as a stream; write one object a line (JSON Lines)")
    return start == b"{"


def json_table(path: Path, name: str, log: RefusalLog) -> Table:
    """The objects of a file, which is read twice: for its keys, then for its rows. name: what to call it.

    A line that is no object is refused ("bad-json"). Raises `InputError` for too many keys.
    """
    keys = _keys(path, name)
    return Table(keys, _batches(path, name, keys, log))


def _keys(path: Path, name: str) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    with open_bytes(path) as stream:
        for block in blocks(stream):
            for place, line in enumerate(block.lines):
                if place not in block.broken:
                    keys.update(dict.fromkeys(object_of(line)[0]))
            if len(keys) > KEYS:
                raise InputError(
                    f"{name}: more than {KEYS} different keys; name them alike in every row and nest what is free"
                )
    return tuple(keys)


def _batches(path: Path, name: str, keys: tuple[str, ...], log: RefusalLog) -> Iterator[Records]:
    row = 0
    with open_bytes(path) as stream:
        for block in blocks(stream):
            records: list[dict[str, Any]] = []
            rows: list[int] = []
            read = 0
            for place, line in enumerate(block.lines):
                row += 1
                if not line.strip() and place not in block.broken:
                    continue
                read += 1
                record, reason = object_of(line) if place not in block.broken else ({}, block.broken[place])
                if reason is None:
                    records.append(record)
                    rows.append(row)
                else:
                    log.add(Refusal(name, row, "", line[:SHOWN], reason))
            cells = {
                str(place): pl.Series([cell_of(record.get(key)) for record in records], dtype=pl.String)
                for place, key in enumerate(keys)
            }
            yield Records(pl.DataFrame(cells), np.asarray(rows, np.int64), read)


def object_of(line: str) -> tuple[dict[str, Any], str | None]:
    """The object that a line holds, or why it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}, "bad-json"
    return (record, None) if isinstance(record, dict) else ({}, "bad-json")


def cell_of(value: Any) -> str | None:
    """A value as the text of a column."""
    if value is None:
        return None
    if isinstance(value, list):
        value = "|".join(str(part) for part in value if part is not None)
    elif isinstance(value, bool | dict):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except RecursionError:
            # What is so deep says nothing of an event.
            return None
    return _valid(str(value))


def _valid(text: str) -> str:
    """A lone surrogate is legal in JSON and nowhere else."""
    return text.encode("utf-8", "replace").decode("utf-8")
