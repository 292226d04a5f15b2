"""Lines of delimited text cut into fields; what cannot be cut is refused, one row at a time."""

import csv
from collections.abc import Iterator, Mapping
from operator import itemgetter

import numpy as np
import polars as pl

from zhiyin.core.arrays import IntVector
from zhiyin.core.errors import InputError
from zhiyin.events.columns import RECBOLE, alias
from zhiyin.events.movielens import headerless
from zhiyin.events.records import BATCH, Records, Table
from zhiyin.events.refusals import SHOWN, Refusal, RefusalLog
from zhiyin.events.sources import Block, ByteStream, blocks

FIELD_CHARACTERS = 131_072
QUOTED_LINES = 100
"""A quoted field that has not closed after so many lines is a stray quote."""


def delimited_table(stream: ByteStream, kind: str, log: RefusalLog) -> Table:
    """Delimited text, with a header or of MovieLens. kind: as in `open_table`. Raises `InputError` for no text."""
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
    layout = headerless(kind, head)
    if layout is not None:
        cutter = _Cutter(stream.name, layout.delimiter, layout.width, log, skipped)
        return Table(layout.names, layout.arranged(cutter.batches(_after(first, start), source)))
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
        self._records: list[list[str]] = []
        self._numbers: list[int] = []
        self._read = 0

    def batches(self, first: Block, others: Iterator[Block]) -> Iterator[Records]:
        for block in _chained(first, others):
            yield from self._batches(*self._cut(block, final=False))
        yield from self._batches(*self._cut(Block([]), final=True))

    def _batches(self, cells: pl.DataFrame, numbers: IntVector) -> Iterator[Records]:
        for start in range(0, max(cells.height, 1), BATCH):
            read, self._read = self._read, 0
            if read or start < cells.height:
                yield Records(cells.slice(start, BATCH), numbers[start : start + BATCH], read)

    def _cut(self, block: Block, final: bool) -> tuple[pl.DataFrame, IntVector]:
        lines, broken = block.lines, block.broken
        if self._open:
            broken = {place + len(self._open): why for place, why in broken.items()}
            lines, self._open = self._open + lines, []
        elif not broken and lines and max(map(len, lines)) <= FIELD_CHARACTERS:
            if self.delimiter == "::" or not any('"' in line for line in lines):
                return self._unquoted(lines)
            if (records := self._quoted_lines(lines)) is not None:
                for record, line in zip(records, lines, strict=True):
                    self._take(record, line)
                return self._taken()
        return self._one_by_one(lines, broken, final)

    def _unquoted(self, lines: list[str]) -> tuple[pl.DataFrame, IntVector]:
        """Every line at its delimiters, without a look at each."""
        texts = pl.Series(lines, dtype=pl.String)
        widths = texts.str.count_matches(self.delimiter, literal=True) + 1
        right = (widths == self.width) & (texts != "")
        for place in (~right).arg_true().to_list():
            if lines[place].strip():
                self._refuse(self.number + place + 1, lines[place], self._wrong(widths[place]))
        numbers = right.arg_true().to_numpy().astype(np.int64) + self.number + 1
        self.number += len(lines)
        self._read += len(numbers)
        cells = texts.filter(right).str.split_exact(self.delimiter, self.width - 1).struct.unnest()
        return cells.rename(dict(zip(cells.columns, map(str, range(self.width)), strict=True))), numbers

    def _quoted_lines(self, lines: list[str]) -> list[list[str]] | None:
        """The record of each line, or None where a record has several."""
        try:
            records = list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error:
            return None
        return records if len(records) == len(lines) else None

    def _one_by_one(self, lines: list[str], broken: Mapping[int, str], final: bool) -> tuple[pl.DataFrame, IntVector]:
        place = 0
        for special in (*self._special(lines, broken), len(lines)):
            for line in lines[place:special]:
                self._take(line.split(self.delimiter), line)
            if special < place or special == len(lines):
                continue
            record, used, reason = self._special_record(lines, special, broken, final)
            if not used:
                self._open = lines[special:]
                break
            self._take(record, lines[special], reason)
            place = special + used
        return self._taken()

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

    def _take(self, record: list[str], line: str, reason: str | None = None) -> None:
        self.number += 1
        if reason is None and len(record) == self.width and (self.width > 1 or line):
            self._read += 1
            self._records.append(record)
            self._numbers.append(self.number)
        elif reason is not None or line.strip():
            self._refuse(self.number, line, reason or self._wrong(len(record)))

    def _taken(self) -> tuple[pl.DataFrame, IntVector]:
        columns = {
            str(place): pl.Series(list(map(itemgetter(place), self._records)), dtype=pl.String)
            for place in range(self.width)
        }
        numbers = np.asarray(self._numbers, np.int64)
        self._records, self._numbers = [], []
        return pl.DataFrame(columns), numbers

    def _wrong(self, width: int) -> str:
        return "too-few-fields" if width < self.width else "too-many-fields"

    def _refuse(self, number: int, line: str, reason: str) -> None:
        self._read += 1
        self.log.add(Refusal(self.file, number, "", line[:SHOWN], reason))


def _chained(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from others
