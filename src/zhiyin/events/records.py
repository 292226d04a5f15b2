"""Records of every format as batches of text columns, with what could not be cut into fields refused."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zhiyin.core.arrays import IntVector
from zhiyin.core.errors import InputError
from zhiyin.events.columns import RECBOLE, alias
from zhiyin.events.refusals import SHOWN, Refusal, RefusalLog
from zhiyin.events.sources import PARQUET, Block, ByteStream, as_file, blocks, open_bytes

BATCH = 50_000
FIELD_CHARACTERS = 131_072
QUOTED_LINES = 100
"""A quoted field that has not closed after so many lines is a stray quote."""

_PARQUET_SLICE = 500_000
_MOVIELENS: dict[str, dict[int, tuple[str, ...]]] = {
    "events": {4: ("user_id", "item_id", "rating", "timestamp"), 3: ("user_id", "item_id", "rating")},
    "items": {3: ("item_id", "title", "genres")},
    "users": {5: ("user_id", "gender", "age", "occupation", "zip")},
}


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


@contextmanager
def open_table(source: str | Path, kind: str, log: RefusalLog) -> Iterator[Table]:
    """The records of `source`. kind: "events", "items" or "users", which says what a file without header holds.

    Raises `InputError` for a file that cannot be opened, is empty or of no known format.
    """
    with open_bytes(source) as stream:
        if stream.head.startswith(PARQUET):
            if stream.plain_path is not None:
                yield _parquet(stream.plain_path)
            else:
                with as_file(stream) as path:
                    yield _parquet(path)
            return
        yield _text(stream, kind, log)


def _text(stream: ByteStream, kind: str, log: RefusalLog) -> Table:
    source = blocks(stream)
    first = next(source, None)
    skipped = 0
    while first is not None and not any(line.strip() for line in first.lines):
        skipped += len(first.lines)
        first = next(source, None)
    if first is None:
        raise InputError(f"{stream.name}: the file is empty")
    start = next(place for place, line in enumerate(first.lines) if line.strip())
    skipped += start
    head = first.lines[start]
    whole = _after(first, start)
    if head.lstrip().startswith("{"):
        return _json(stream.name, whole, source, skipped, log)
    if head.lstrip().startswith("["):
        raise InputError(
            f"{stream.name}: a JSON array cannot be read as a stream; write one object a line (JSON Lines)"
        )
    width, known = head.count("::") + 1, _MOVIELENS[kind]
    if width > 1 and width in known:
        cutter = _Cutter(stream.name, "::", width, log, skipped)
        return Table(known[width], cutter.batches(whole, source))
    cells = head.split("\t")
    if kind == "events" and len(cells) == 4 and all(re.fullmatch(r"-?\d+(\.\d+)?", cell.strip()) for cell in cells):
        return Table(known[4], _Cutter(stream.name, "\t", 4, log, skipped).batches(whole, source))
    delimiter, names = _header(head)
    typed = [RECBOLE.match(name) for name in names]
    sequences = {place for place, match in enumerate(typed) if match and match[2].endswith("_seq")}
    if all(typed):
        names = [match[1] for match in typed if match]
    cutter = _Cutter(stream.name, delimiter, len(names), log, skipped + 1)
    return Table(tuple(names), cutter.batches(_after(first, start + 1), source), frozenset(sequences))


def _after(block: Block, start: int) -> Block:
    return Block(block.lines[start:], {place - start: why for place, why in block.broken.items() if place >= start})


def _header(line: str) -> tuple[str, list[str]]:
    best: tuple[tuple[int, int], str, list[str]] = ((-1, 0), ",", [line])
    for delimiter in (",", "\t", "|", ";"):
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [line])]
        merit = (sum(alias(name) is not None for name in names), len(names))
        if merit > best[0]:
            best = (merit, delimiter, names)
    return best[1], best[2]


class _Cutter:
    """Cuts lines into fields.

    A quoted field may hold line ends if it closes within `QUOTED_LINES` lines and its record has the right number of
    fields; if not, the one line with the quote is refused and reading goes on at the next, so that a stray quote
    costs one row and not the rest of the file.
    """

    def __init__(self, file: str, delimiter: str, width: int, log: RefusalLog, number: int) -> None:
        self.file = file
        self.delimiter = delimiter
        self.width = width
        self.log = log
        self.number = number
        self._open: list[str] = []
        self._read = 0

    def batches(self, first: Block, others: Iterator[Block]) -> Iterator[Records]:
        for block in _chained(first, others):
            yield from self._batches(*self._cut(block, final=False))
        yield from self._batches(*self._cut(Block([]), final=True))

    def _batches(self, records: list[list[str]], numbers: Sequence[int]) -> Iterator[Records]:
        for start in range(0, len(records), BATCH):
            part = records[start : start + BATCH]
            cells = pl.DataFrame(
                {
                    str(place): pl.Series(list(map(itemgetter(place), part)), dtype=pl.String)
                    for place in range(self.width)
                }
            )
            read, self._read = self._read, 0
            yield Records(cells, np.asarray(numbers[start : start + BATCH], np.int64), read)
        if not records and self._read:
            read, self._read = self._read, 0
            yield Records(
                pl.DataFrame({str(i): pl.Series([], dtype=pl.String) for i in range(self.width)}), _NONE, read
            )

    def _cut(self, block: Block, final: bool) -> tuple[list[list[str]], Sequence[int]]:
        lines, broken = block.lines, block.broken
        if self._open:
            broken = {place + len(self._open): why for place, why in broken.items()}
            lines, self._open = self._open + lines, []
        elif not broken and (records := self._at_once(lines)) is not None:
            first = self.number + 1
            self.number += len(records)
            self._read += len(records)
            if all(len(record) == self.width for record in records):
                return records, range(first, self.number + 1)
            return self._of_width(records, lines, first)
        return self._one_by_one(lines, broken, final)

    def _at_once(self, lines: list[str]) -> list[list[str]] | None:
        """One record a line, or None where lines and records may differ."""
        if not lines or max(map(len, lines)) > FIELD_CHARACTERS:
            return None
        if self.delimiter == "::" or not any('"' in line for line in lines):
            return [line.split(self.delimiter) for line in lines]
        try:
            records = list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error:
            return None
        return records if len(records) == len(lines) else None

    def _of_width(
        self, records: list[list[str]], lines: list[str], first: int
    ) -> tuple[list[list[str]], Sequence[int]]:
        kept, numbers = [], []
        for place, record in enumerate(records):
            if len(record) == self.width and (self.width > 1 or lines[place]):
                kept.append(record)
                numbers.append(first + place)
            elif not lines[place].strip():
                self._read -= 1
            else:
                self._refuse(first + place, lines[place], "field-count")
        return kept, numbers

    def _one_by_one(
        self, lines: list[str], broken: Mapping[int, str], final: bool
    ) -> tuple[list[list[str]], Sequence[int]]:
        records: list[list[str]] = []
        numbers: list[int] = []
        place = 0
        for special in (*self._special(lines, broken), len(lines)):
            if special > place:
                plain = lines[place:special]
                first = self.number + 1
                self.number += len(plain)
                self._read += len(plain)
                kept, at = self._of_width([line.split(self.delimiter) for line in plain], plain, first)
                records += kept
                numbers += at
            if special < place or special == len(lines):
                continue
            place = special
            record, used, reason = self._special_record(lines, place, broken, final)
            if not used:
                self._open = lines[place:]
                break
            self.number += 1
            self._read += 1
            if reason is None and len(record) != self.width:
                reason = "field-count"
            if reason is None:
                records.append(record)
                numbers.append(self.number)
            else:
                self._refuse(self.number, lines[place], reason)
            place += used
        return records, numbers

    def _special(self, lines: list[str], broken: Mapping[int, str]) -> list[int]:
        """Places of lines that cannot just be split at the delimiter."""
        quotes = self.delimiter != "::"
        return [
            place
            for place, line in enumerate(lines)
            if (quotes and '"' in line) or len(line) > FIELD_CHARACTERS or place in broken
        ]

    def _special_record(
        self, lines: list[str], place: int, broken: Mapping[int, str], final: bool
    ) -> tuple[list[str], int, str | None]:
        """Fields, lines used and reason of refusal; no line is used where the next block must be seen first."""
        if place in broken:
            return [], 1, broken[place]
        end = min(place + QUOTED_LINES, len(lines))
        end = next((other for other in range(place, end) if other in broken), end)
        if (cut := self._quoted(lines, place, end)) is not None:
            return cut
        waits = end == len(lines) < place + QUOTED_LINES and not final
        return [], 0 if waits else 1, "bad-quote"

    def _quoted(self, lines: list[str], place: int, end: int) -> tuple[list[str], int, str | None] | None:
        """Fields, lines used and reason of refusal; None where a quote is open up to `end`."""
        for stop in range(place + 1, end + 1):
            if stop > place + 1 and '"' not in lines[stop - 1]:
                continue
            whole = "\n".join(lines[place:stop])
            try:
                record = next(csv.reader([whole], delimiter=self.delimiter, strict=True))
            except csv.Error as error:
                if "unexpected end" in str(error):
                    continue
                return [], 1, "field-too-large" if "larger than" in str(error) else "bad-quote"
            if stop > place + 1 and len(record) != self.width:
                return [], 1, "bad-quote"
            return record, stop - place, None
        return None

    def _refuse(self, number: int, value: str, reason: str) -> None:
        self.log.add(Refusal(self.file, number, "", value[:SHOWN], reason))


_NONE = np.zeros(0, np.int64)


def _chained(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from others


def _json(file: str, first: Block, others: Iterator[Block], number: int, log: RefusalLog) -> Table:
    names: dict[str, None] = {}
    for line in first.lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            names.update(dict.fromkeys(record))
    known = tuple(names)

    def batches() -> Iterator[Records]:
        row = number
        for block in _chained(first, others):
            records: list[dict[str, Any]] = []
            rows: list[int] = []
            read = 0
            for place, line in enumerate(block.lines):
                row += 1
                if not line.strip() and place not in block.broken:
                    continue
                read += 1
                record, reason = _object(line) if place not in block.broken else ({}, block.broken[place])
                if reason is None:
                    records.append(record)
                    rows.append(row)
                else:
                    log.add(Refusal(file, row, "", line[:SHOWN], reason))
            cells = {
                str(place): pl.Series([_cell(record.get(name)) for record in records], dtype=pl.String)
                for place, name in enumerate(known)
            }
            yield Records(pl.DataFrame(cells), np.asarray(rows, np.int64), read)

    return Table(known, batches())


def _object(line: str) -> tuple[dict[str, Any], str | None]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}, "bad-json"
    return (record, None) if isinstance(record, dict) else ({}, "bad-json")


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return "|".join(str(part) for part in value if part is not None)
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False)
    # A lone surrogate is legal in JSON and nowhere else.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _parquet(path: Path) -> Table:
    try:
        schema = pl.scan_parquet(path).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: no readable Parquet file ({error})") from error

    def batches() -> Iterator[Records]:
        texts = [_as_text(pl.col(name), kind).alias(str(place)) for place, (name, kind) in enumerate(schema.items())]
        start = 0
        while True:
            try:
                part = pl.scan_parquet(path).slice(start, _PARQUET_SLICE).select(texts).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(f"{path}: damaged Parquet file ({error})") from error
            for cells in part.iter_slices(BATCH):
                yield Records(cells, np.arange(start + 1, start + cells.height + 1), cells.height)
                start += cells.height
            if part.height < _PARQUET_SLICE:
                return

    return Table(tuple(schema.names()), batches())


def _as_text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind.is_float():
        # Ids with gaps are stored as floats by data-frame libraries: 17850.0 is customer 17850.
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2.0**53)
        return (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        )
    if isinstance(kind, pl.Datetime):
        moment = column.dt.convert_time_zone("UTC") if kind.time_zone else column
        return moment.dt.epoch("ms").cast(pl.String)
    if isinstance(kind, pl.Date):
        return column.dt.to_string("%Y-%m-%d")
    if isinstance(kind, pl.List):
        return column.cast(pl.List(pl.String)).list.join("|")
    return column.cast(pl.String)
