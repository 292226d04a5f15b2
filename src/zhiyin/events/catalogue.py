"""Files of items and of users, in any of the formats that events come in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.events import MAX_ID_LENGTH, MISSING_TIME
from zhiyin.events.columns import recognise
from zhiyin.events.records import Table
from zhiyin.events.refusals import SHOWN, Refusal, RefusalLog
from zhiyin.events.sources import source_name
from zhiyin.events.tables import open_table
from zhiyin.events.times import parse_times

_ITEM = ("item_id", "title", "description", "categories", "price", "image", "audio", "available_from", "available")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_UNAVAILABLE = {"0", "false", "no", "n", "否", "下架"}


@dataclass(frozen=True, eq=False)
class _Read:
    names: tuple[str, ...]
    places: dict[str, int]
    sequences: frozenset[int]
    rows: list[tuple[Any, ...]]

    def column(self, name: str) -> list[str | None]:
        place = self.places.get(name)
        return [None if place is None else row[place] for row in self.rows]

    @property
    def others(self) -> dict[str, list[str | None]]:
        taken = set(self.places.values())
        return {
            name: [row[place] for row in self.rows]
            for place, name in enumerate(self.names)
            if place not in taken and name
        }


def read_catalog(source: str | Path, log: RefusalLog, columns: Mapping[str, str] | None = None) -> tuple[Catalog, int]:
    """The items of a file and the number of rows read; of two rows with one id the later one counts.

    Columns without a canonical name become attributes. Categories are apart by `|`, `,`, `;` or, in RecBole's
    sequences, spaces. A row without an id that events can have is refused; a price or date that cannot be read is left
    out, since the item can be recommended without it. Images and sounds named by a relative path lie where the file
    itself lies. Raises `InputError` for a file that cannot be read.
    """
    read, count = _read(source, "item_id", _ITEM, log, columns or {})
    titles, descriptions = read.column("title"), read.column("description")
    if "title" not in read.places:
        titles, descriptions = descriptions, [None] * len(descriptions)
    spaced = read.places.get("categories") in read.sequences
    catalog = Catalog.build(
        item_id=[str(identifier) for identifier in read.column("item_id")],
        title=titles,
        description=descriptions,
        categories=[_split(cell, spaced) for cell in read.column("categories")],
        price=[_number(cell) for cell in read.column("price")],
        image=_places(read.column("image"), source),
        audio=_places(read.column("audio"), source),
        available_from=_times(read.column("available_from")),
        available=[(cell or "").lower() not in _UNAVAILABLE for cell in read.column("available")],
        attributes=read.others,
    )
    return catalog, count


def read_users(source: str | Path, log: RefusalLog, columns: Mapping[str, str] | None = None) -> tuple[Users, int]:
    """The users of a file, every other column an attribute, and the number of rows read; see `read_catalog`."""
    read, count = _read(source, "user_id", ("user_id",), log, columns or {})
    return Users.build(
        user_id=[str(identifier) for identifier in read.column("user_id")], attributes=read.others
    ), count


def _read(
    source: str | Path, key: str, wanted: tuple[str, ...], log: RefusalLog, columns: Mapping[str, str]
) -> tuple[_Read, int]:
    file = source_name(source)
    side = key.removesuffix("_id")
    with open_table(source, side + "s", log) as table:
        places = recognise(table.names, columns, wanted, file, (key,))
        rows: dict[str, tuple[Any, ...]] = {}
        count = 0
        for number, row, read in _rows(table):
            count += read
            if row is None:
                continue
            identifier = row[places[key]]
            reason = _refused(identifier, side)
            if reason is None:
                rows[identifier] = row
            else:
                log.add(Refusal(file, number, key, (identifier or "")[:SHOWN], reason))
        return _Read(table.names, places, table.sequences, list(rows.values())), count


def _rows(table: Table) -> Iterator[tuple[int, tuple[Any, ...] | None, int]]:
    for records in table.batches:
        yield 0, None, records.read
        for number, row in zip(records.rows.tolist(), records.cells.iter_rows(), strict=True):
            yield number, tuple((cell.strip() or None) if cell is not None else None for cell in row), 0


def _refused(identifier: str | None, side: str) -> str | None:
    if identifier is None:
        return f"missing-{side}"
    if len(identifier) > MAX_ID_LENGTH:
        return "field-too-large"
    return "control-character" if _CONTROL.search(identifier) else None


def _split(cell: str | None, spaced: bool) -> tuple[str, ...]:
    if cell is None or cell == "(no genres listed)":
        return ()
    parts = cell.split() if spaced else re.split(r"[|,;，；、]", cell.strip("[]"))
    return tuple(dict.fromkeys(part.strip(" '\"") for part in parts if part.strip(" '\"")))


def _number(cell: str | None) -> float:
    try:
        number = float(cell or "nan")
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _places(cells: list[str | None], source: str | Path) -> list[str | None]:
    """Paths from the root on, so that they hold wherever the system runs; addresses and data URIs as they are."""
    folder = Path(source).absolute().parent
    return [cell if cell is None or _ADDRESS.match(cell) else str(folder / cell) for cell in cells]


def _times(cells: list[str | None]) -> list[int]:
    return parse_times(pl.Series(cells, dtype=pl.String)).fill_null(MISSING_TIME).to_list()
