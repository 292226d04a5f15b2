"""Lists as they were shown."""

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import orjson
from sqlalchemy import JSON, select
from sqlalchemy import text as sql

from zhiyin.core.errors import NotFoundError
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.results import NO_REASON, Recommendations, Recommended
from zhiyin.core.stores import Impressions, ShownList
from zhiyin.storage import schema
from zhiyin.storage.database import IN_PLACE, Database

AT_ONCE = 2_000
"""Lists that are read together."""

_SHOWN = sql(
    "SELECT rowid, user_id, timestamp, places FROM shown_lists"  # noqa: S608
    f" WHERE {IN_PLACE} AND rowid > :after ORDER BY rowid LIMIT :limit"
).columns(places=JSON)


class StoredImpressions:
    """`zhiyin.core.stores.ImpressionStore`, a row a list: events wait while it is written."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    def log(self, lists: Sequence[ShownList]) -> int:
        """Keeps lists as they were shown; one that is already known is left as it was. The number of new ones."""
        if not lists:
            return 0
        rows = [self._row(shown) for shown in lists]
        table = schema.shown_lists
        with self._database.write() as connection:
            return self._database.add(connection, table, table.c.keys(), table.primary_key.columns.keys(), rows)

    def read(self, recommendation_id: str) -> Impressions:
        """The list in its order. Raises `NotFoundError` for an id that was never logged."""
        columns = schema.shown_lists.c
        mine = columns.tenant == self._tenant, columns.recommendation_id == recommendation_id
        with self._database.read() as connection:
            row = connection.execute(select(schema.shown_lists).where(*mine)).one_or_none()
        if row is None:
            raise NotFoundError(f"no list was served under recommendation id {recommendation_id!r}")
        items = [
            Recommended(item, rank, nan if score is None else score, NO_REASON, propensity)
            for item, rank, score, propensity in row.places
        ]
        served = Recommendations(row.user_id, items, row.rung, row.recommendation_id, row.manifest_id)
        return Impressions.of([ShownList(served, MISSING_TIME if row.timestamp is None else row.timestamp)])

    def every(self) -> Iterator[Events]:
        """Batches of at most `AT_ONCE` lists, in the order in which they were logged, former ones before all others."""
        for rows in self._database.batches(_SHOWN, self._tenant, at_once=AT_ONCE):
            places = [(user, time, place) for _, user, time, places in rows for place in places]
            yield Events.build(
                user_id=[user for user, _, _ in places],
                item_id=[item for _, _, (item, *_) in places],
                event="impression",
                timestamp=[MISSING_TIME if time is None else time for _, time, _ in places],
                position=[rank for _, _, (_, rank, *_) in places],
            )

    def _row(self, shown: ShownList) -> tuple[Any, ...]:
        """As the columns of the table."""
        served = shown.served
        return (
            self._tenant,
            served.recommendation_id,
            served.user_id,
            served.rung,
            served.manifest_id,
            None if shown.shown_at == MISSING_TIME else shown.shown_at,
            orjson.dumps(
                [schema.place(item.item_id, item.rank, item.score, item.propensity) for item in served.items]
            ).decode(),
        )
