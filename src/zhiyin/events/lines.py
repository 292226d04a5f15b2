"""Lines of JSON that come one after the other, each an event, as checked `Events`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zhiyin.core.events import Events
from zhiyin.events.checking import check_events
from zhiyin.events.columns import recognise
from zhiyin.events.identity import Occurrences
from zhiyin.events.jsonlines import cell_of, object_of
from zhiyin.events.reading import events_of
from zhiyin.events.refusals import SHOWN, Refusal, Refusals
from zhiyin.events.sources import LINE_BYTES, source_name
from zhiyin.events.tail import Tail

_WANTED = (
    "user_id",
    "item_id",
    "event",
    "value",
    "timestamp",
    "session_id",
    "event_id",
    "recommendation_id",
    "position",
)
_VALUES = ("rating", "value", "quantity")

SHAPES = 1_000
"""Sets of keys that are remembered."""


@dataclass(frozen=True)
class Line:
    """One line without its end. row: its number. event_id, timestamp: of an event that does not tell its own."""

    row: int
    text: bytes
    event_id: str | None = None
    timestamp: str | None = None


class LineReader:
    """Makes checked rows of lines; refused ones go to `log`, as those of `name`.

    columns: key of the lines -> canonical name. A line tells its event's id or its time: without both, an event that
    happens again could not be told from a line that is read again.

    Raises `InputError` where `columns` name no column of events.
    """

    def __init__(self, name: str, log: Refusals, columns: Mapping[str, str]) -> None:
        self.name = name
        self.read = 0
        self._log = log
        self._columns = columns
        self._keys: dict[tuple[str, ...], dict[str, str]] = {}
        self._told(())

    def checked(self, lines: Iterable[Line]) -> pl.DataFrame:
        rows, records = [], []
        for line in lines:
            if not line.text.strip():
                continue
            self.read += 1
            found, reason = _object(line.text)
            if reason is not None:
                self._refuse(line.row, "", line.text.decode("utf-8", "replace"), reason)
            else:
                rows.append(line.row)
                records.append(self._record(found, line))
        frame = pl.DataFrame(records, schema=dict.fromkeys(_WANTED, pl.String), orient="row")
        untold = frame.select(pl.all_horizontal(_blank("event_id"), _blank("timestamp"))).to_series().to_numpy()
        for place in np.flatnonzero(untold).tolist():
            self._refuse(rows[place], "timestamp", "", "no-id-and-no-time")
        kept = np.flatnonzero(~untold)
        return check_events(frame[kept.tolist()], np.asarray(rows, np.int64)[kept], "view", self.name, self._log)

    def _record(self, told: dict[str, Any], line: Line) -> list[str | None]:
        """The cells of one line, by its own keys alone: what came with it says nothing of it."""
        keys = self._told(tuple(told))
        cells = {name: cell_of(told[key]) for name, key in keys.items()}
        value = next((name for name in _VALUES if name in cells), "value")
        kind = "rating" if value == "rating" else "purchase" if {"quantity", "price"} & set(cells) else "view"
        cells["value"], cells["event"] = cells.get(value), (cells.get("event") or "").strip() or kind
        for name, own in (("event_id", line.event_id), ("timestamp", line.timestamp)):
            cells[name] = (cells.get(name) or "").strip() or own
        return [cells.get(name) for name in _WANTED]

    def _told(self, keys: tuple[str, ...]) -> dict[str, str]:
        """Canonical name -> which of the keys it is."""
        if keys not in self._keys:
            places = recognise(keys, self._columns, (*_WANTED, *_VALUES, "price"), self.name, ())
            if len(self._keys) >= SHAPES:
                self._keys.clear()
            self._keys[keys] = {name: keys[place] for name, place in places.items()}
        return self._keys[keys]

    def _refuse(self, row: int, field: str, value: str, reason: str) -> None:
        self._log.add(Refusal(self.name, row, field, value[:SHOWN], reason))


class FollowedFile:
    """A file of JSON Lines that goes on: what comes is given as batches, as a `LineReader` checks it.

    Lines without an id get one by what they hold and how many such lines the file had before, so that it may be read
    again at any time. To be closed.

    Raises `InputError` where `columns` name no column of events.
    """

    def __init__(self, path: Path, log: Refusals, columns: Mapping[str, str]) -> None:
        self._reader = LineReader(source_name(path), log, columns)
        self._tail = Tail(path)
        self._generation = 0
        self._occurrences: Occurrences | None = None

    @property
    def read(self) -> int:
        return self._reader.read

    def events(self) -> Events | None:
        """What has come since; None where nothing has. Raises `InputError` for a file that cannot be read."""
        found = self._tail.read()
        if found is None:
            return None
        checked = self._reader.checked(Line(row, text) for row, text in enumerate(found.lines, found.first))
        return events_of(checked, self._counted())

    def settled(self) -> None:
        """Files are read from their beginning: nothing need be told of them."""

    def close(self) -> None:
        self._tail.close()
        if self._occurrences is not None:
            self._occurrences.close()

    def _counted(self) -> Occurrences:
        """Of the rows of this file alone."""
        if self._occurrences is None or self._generation != self._tail.generation:
            if self._occurrences is not None:
                self._occurrences.close()
            self._occurrences, self._generation = Occurrences(), self._tail.generation
        return self._occurrences


def _object(line: bytes) -> tuple[dict[str, Any], str | None]:
    if len(line) >= LINE_BYTES:
        return {}, "field-too-large"
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return {}, "bad-encoding"
    return object_of(text) if "\0" not in text else ({}, "bad-encoding")


def _blank(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().str.len_chars().fill_null(0) == 0
