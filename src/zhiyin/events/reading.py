"""Files of events, in any format, as batches of checked `Events`."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import polars as pl

from zhiyin.core.events import MISSING_POSITION, MISSING_TIME, Events, text
from zhiyin.events.checking import check_events
from zhiyin.events.cleaning import Step, apply, check_needs
from zhiyin.events.columns import recognise
from zhiyin.events.identity import Occurrences
from zhiyin.events.refusals import RefusalLog
from zhiyin.events.sources import source_name
from zhiyin.events.tables import open_table

_WANTED = (
    "user_id",
    "item_id",
    "event",
    "rating",
    "value",
    "quantity",
    "price",
    "timestamp",
    "session_id",
    "event_id",
    "recommendation_id",
    "position",
    "title",
)
_CONTENT = ("user_id", "item_id", "event", "value", "timestamp", "session_id", "recommendation_id", "position")


class EventFile:
    """One file being read: iterating gives batches, after which the counts are those of the whole file.

    source: a path or "-" for standard input. columns: column of the file -> canonical name. read: rows met, good or
    not. removed: rows taken out by each cleaning step. titles: the first title met of each item, where there are any.
    headers: the columns the file has. Refused rows go to `log`; a file that cannot be read raises `InputError`.
    """

    def __init__(
        self,
        source: str | Path,
        log: RefusalLog,
        columns: Mapping[str, str] | None = None,
        cleaning: Sequence[Step] = (),
    ) -> None:
        self.source = source
        self.name = source_name(source)
        self.log = log
        self.columns = columns or {}
        self.cleaning = cleaning
        self.read = 0
        self.removed: Counter[str] = Counter({step.name: 0 for step in cleaning})
        self.titles: dict[str, str] = {}
        self.headers: tuple[str, ...] = ()

    def __iter__(self) -> Generator[Events, None, None]:
        with open_table(self.source, "events", self.log) as table, Occurrences() as occurrences:
            self.headers = table.names
            places = recognise(table.names, self.columns, _WANTED, self.name, ("user_id", "item_id"))
            if "title" not in places:
                places |= recognise(table.names, {}, ("description",), self.name, ())
                if "description" in places:
                    places["title"] = places.pop("description")
            check_needs(self.cleaning, list(places), self.name)
            default = "rating" if "rating" in places else "purchase" if {"quantity", "price"} & set(places) else "view"
            value = next((name for name in ("rating", "value", "quantity") if name in places), None)
            chosen = {
                "value" if name == value else name: pl.col(str(place))
                for name, place in places.items()
                if name == value or name not in ("rating", "value", "quantity")
            }
            if "quantity" in places:
                chosen["quantity"] = pl.col(str(places["quantity"]))
            for records in table.batches:
                self.read += records.read
                frame = check_events(records.cells.select(**chosen), records.rows, default, self.name, self.log)
                frame, removed = apply(frame, self.cleaning)
                self.removed.update(removed)
                if "title" in places:
                    titled = frame.drop_nulls("title").unique("item_id", keep="first", maintain_order=True)
                    for item, title in titled.select("item_id", "title").iter_rows():
                        self.titles.setdefault(item, title)
                if frame.height:
                    yield events_of(frame, occurrences)


def events_of(frame: pl.DataFrame, occurrences: Occurrences) -> Events:
    """Checked rows as events, with ids for those that have none."""
    ids = frame["event_id"].to_list()
    unnamed = frame["event_id"].is_null()
    if unnamed.any():
        parts = [pl.col(name).cast(pl.String).fill_null("") for name in _CONTENT]
        contents = frame.filter(unnamed).select(pl.concat_str(parts, separator="\x1f")).to_series().to_list()
        for place, identifier in zip(unnamed.arg_true().to_list(), occurrences.ids(contents), strict=True):
            ids[place] = identifier
    return Events(
        user_id=text(frame["user_id"].to_list()),
        item_id=text(frame["item_id"].to_list()),
        event=text(frame["event"].to_list()),
        value=frame["value"].fill_null(float("nan")).to_numpy(),
        timestamp=frame["timestamp"].fill_null(MISSING_TIME).to_numpy(),
        session_id=text(frame["session_id"].to_list()),
        event_id=text(ids),
        recommendation_id=text(frame["recommendation_id"].to_list()),
        position=frame["position"].fill_null(MISSING_POSITION).to_numpy(),
        sequence=pl.zeros(frame.height, pl.Int64, eager=True).to_numpy(),
    )
