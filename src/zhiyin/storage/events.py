"""The event log."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy import text as sql

from zhiyin.core.errors import InputError
from zhiyin.core.events import MISSING_POSITION, MISSING_TIME, Events
from zhiyin.core.stores import AppendReport, Cursor, ErasureReport, Which
from zhiyin.storage import schema
from zhiyin.storage.database import IN_PLACE, Database

_TOLD = (
    "event_id",
    "user_id",
    "item_id",
    "event",
    "value",
    "timestamp",
    "session_id",
    "recommendation_id",
    "position",
)
_COLUMNS = ", ".join(("seq", *_TOLD))  # as in _events
_READ = sql(
    f"SELECT {_COLUMNS} FROM events WHERE {IN_PLACE} AND seq > :after ORDER BY seq LIMIT :limit"  # noqa: S608
)
_LATEST = (
    "FROM events WHERE tenant = :tenant AND user_id = :user ORDER BY timestamp DESC NULLS LAST, seq DESC LIMIT :limit"
)
_HISTORY = sql(f"SELECT {_COLUMNS} {_LATEST}")
_HISTORIES = sql(f"SELECT seq, item_id, event, value, timestamp {_LATEST}")
_COUNTS = sql(
    "SELECT user_id, count(*) AS n FROM events"
    " WHERE tenant = :tenant AND user_id >= :prefix AND substr(user_id, 1, length(:prefix)) = :prefix"
    " GROUP BY user_id ORDER BY n DESC, user_id LIMIT :limit"
)


class StoredEvents:
    """`zhiyin.core.stores.EventStore` over one table."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._mine = schema.events.c.tenant == tenant

    def append(self, events: Events) -> AppendReport:
        """Durable when it returns (within a transaction of the stores: when that ends); idempotent by event_id."""
        if not len(events):
            return AppendReport(0, 0)
        rows = list(
            zip(
                [self._tenant] * len(events),
                events.identified().event_id,
                events.user_id,
                events.item_id,
                events.event,
                _optional(events.value, np.isnan(events.value)),
                _optional(events.timestamp, events.timestamp == MISSING_TIME),
                events.session_id,
                events.recommendation_id,
                _optional(events.position, events.position == MISSING_POSITION),
                strict=True,
            )
        )
        with self._database.write() as connection:
            # Places are given out before a transaction ends, and a cursor must not step over one that ends later.
            self._database.lock(connection, f"log of {self._tenant}")
            added = self._database.add(connection, schema.events, ("tenant", *_TOLD), ("tenant", "event_id"), rows)
        return AppendReport(added, len(rows) - added)

    def read(self, since: Cursor | None = None) -> Iterator[Events]:
        """Batches of at most 50,000 events in the order of the log."""
        return map(_events, self._database.batches(_READ, self._tenant, 0 if since is None else int(since)))

    def history(self, user_id: str, limit: int) -> Events:
        """The user's latest `limit` events, oldest first; events without a time come before all others."""
        rows = self._database.rows(_HISTORY, {"tenant": self._tenant, "user": user_id, "limit": limit})
        return _events(rows[::-1])

    def histories(self, user_ids: Sequence[str], limit: int) -> Events:
        """The latest `limit` events of each, latest first, user after user, with what histories are made of alone."""
        mine = [{"tenant": self._tenant, "user": user_id, "limit": limit} for user_id in user_ids]
        found = self._database.rows_of_each(_HISTORIES, mine)
        rows = [row for each in found for row in each]
        if not rows:
            return Events.empty()
        sequence, item, event, value, time = zip(*rows, strict=True)
        return Events.build(
            user_id=[user_id for user_id, each in zip(user_ids, found, strict=True) for _ in each],
            item_id=item,
            event=event,
            value=_numbers(value),
            timestamp=_times(time),
            sequence=sequence,
        )

    def find(self, which: Which, limit: int, since: Cursor | None = None) -> Events:
        """The first `limit` of those events behind a place, in the order of the log."""
        columns = schema.events.c
        mine = self._mine if which.user_id is not None else sql(IN_PLACE).bindparams(tenant=self._tenant)
        told = select(*(columns[name] for name in ("seq", *_TOLD)))
        statement = told.where(mine, *_of(which), columns.seq > (since or 0)).order_by(columns.seq).limit(limit)
        with self._database.read() as connection:
            return _events(connection.execute(statement).all())

    def remove(self, which: Which) -> int:
        """Takes those events of one user or one item out of the log; how many there were.

        Raises `InputError` where neither is named.
        """
        if which.user_id is None and which.item_id is None:
            raise InputError("events are removed of a user or of an item: name one")
        with self._database.write() as connection:
            return connection.execute(delete(schema.events).where(self._mine, *_of(which))).rowcount

    def last_sequence(self) -> int:
        statement = sql(f"SELECT seq FROM events WHERE {IN_PLACE} ORDER BY seq DESC LIMIT 1")  # noqa: S608
        with self._database.read() as connection:
            return int(connection.execute(statement, {"tenant": self._tenant}).scalar() or 0)

    def user_counts(self, limit: int, prefix: str = "") -> list[tuple[str, int]]:
        values = {"tenant": self._tenant, "prefix": prefix, "limit": limit}
        with self._database.read() as connection:
            return [(row[0], int(row[1])) for row in connection.execute(_COUNTS, values)]

    def erase(self, user_id: str) -> ErasureReport:
        """Removes the user from every table of this tenant, and from what the database keeps besides."""
        removed = {}
        with self._database.write() as connection:
            for table in (schema.events, schema.users, schema.shown_lists, schema.tastes, schema.keys):
                condition = (table.c.tenant == self._tenant) & (table.c.user_id == user_id)
                removed[table.name] = connection.execute(
                    select(func.count()).select_from(table).where(condition)
                ).scalar_one()
                connection.execute(delete(table).where(condition))
        self._database.forget()
        return ErasureReport(removed)


def _of(which: Which) -> list[ColumnElement[bool]]:
    return [schema.events.c[name] == value for name, value in vars(which).items() if value is not None]


def _optional(values: np.ndarray, missing: np.ndarray) -> list[Any]:
    cells = values.astype(object)
    cells[missing] = None
    listed: list[Any] = cells.tolist()
    return listed


def _numbers(cells: Sequence[float | None]) -> list[float]:
    return [np.nan if cell is None else cell for cell in cells]


def _times(cells: Sequence[int | None]) -> list[int]:
    return [MISSING_TIME if cell is None else cell for cell in cells]


def _events(rows: Sequence[Any]) -> Events:
    if not rows:
        return Events.empty()
    sequence, event_id, user, item, event, value, time, session, recommendation, position = zip(*rows, strict=True)
    return Events.build(
        user_id=user,
        item_id=item,
        event=event,
        value=_numbers(value),
        timestamp=_times(time),
        session_id=session,
        event_id=event_id,
        recommendation_id=recommendation,
        position=[MISSING_POSITION if cell is None else cell for cell in position],
        sequence=sequence,
    )
