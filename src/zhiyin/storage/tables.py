"""The catalogue and the users."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, null, select, update
from sqlalchemy import text as sql

from zhiyin.core.catalog import Catalog, Users, attribute_columns, attributes_at
from zhiyin.core.events import MISSING_TIME
from zhiyin.storage import schema
from zhiyin.storage.database import Database, storable

_CHUNK = 10_000
MEDIA = ("image", "audio")

_REVISION = sql("SELECT revision FROM catalog_revisions WHERE tenant = :tenant")

_PEOPLE = sql(
    "SELECT user_id FROM (SELECT user_id FROM users WHERE tenant = :tenant AND user_id > :after"
    " ORDER BY user_id LIMIT :limit) AS told"
    " UNION SELECT user_id FROM (SELECT DISTINCT user_id FROM events WHERE tenant = :tenant AND user_id > :after"
    " ORDER BY user_id LIMIT :limit) AS active"
    " ORDER BY user_id LIMIT :limit"
)


class _Keyed:
    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    def _upsert(self, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> int:
        statement = self._database.insert(table)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", key],
            set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in ("tenant", key)},
        )
        with self._database.write() as connection:
            # Two that write the same rows in another order would wait for each other.
            self._database.lock(connection, f"{table.name} of {self._tenant}")
            for start in range(0, len(rows), _CHUNK):
                connection.execute(statement, rows[start : start + _CHUNK])
        return len(rows)

    def _rows(self, table: Table, *conditions: ColumnElement[bool], order: str = "rowid") -> Sequence[Any]:
        column = table.c[order] if order in table.c else sql(order)
        statement = select(table).where(table.c.tenant == self._tenant, *conditions).order_by(column)
        with self._database.read() as connection:
            return connection.execute(statement).all()


class StoredCatalog(_Keyed):
    """`zhiyin.core.stores.CatalogStore`; items are read in the order in which they first came."""

    def upsert(self, catalog: Catalog) -> int:
        """Adds items, or replaces them whole; the number of rows written."""
        with self._database.write() as connection:
            return self._upsert(schema.items, "item_id", self._rows_of(catalog, self._next_revision(connection)))

    def remove(self, item_ids: Sequence[str]) -> int:
        """Takes items out; how many there were. To those who ask for changes they are items that cannot be had."""
        table = schema.items
        there = (table.c.tenant == self._tenant) & table.c.item_id.in_(item_ids) & ~table.c.removed
        nothing = {"title": None, "description": None, "image": None, "audio": None, "price": None}
        empty = {"categories": [], "attributes": {}, "available": False, "removed": True}
        with self._database.write() as connection:
            revision = self._next_revision(connection)
            return connection.execute(
                update(table).where(there).values({**nothing, **empty, "revision": revision})
            ).rowcount

    def _next_revision(self, connection: Connection) -> int:
        """Of what is written in this transaction."""
        revisions = schema.catalog_revisions
        connection.execute(
            self._database.insert(revisions)
            .values(tenant=self._tenant, revision=1)
            .on_conflict_do_update(index_elements=["tenant"], set_={"revision": revisions.c.revision + 1})
        )
        return self.revision()

    def _rows_of(self, catalog: Catalog, revision: int) -> list[dict[str, Any]]:
        return [
            {
                "tenant": self._tenant,
                "item_id": catalog.item_id[row],
                "title": storable(catalog.title[row]),
                "description": storable(catalog.description[row]),
                "categories": list(catalog.categories[row]),
                "price": None if np.isnan(catalog.price[row]) else float(catalog.price[row]),
                "image": storable(catalog.image[row]),
                "audio": storable(catalog.audio[row]),
                "available_from": None
                if catalog.available_from[row] == MISSING_TIME
                else int(catalog.available_from[row]),
                "available": bool(catalog.available[row]),
                "attributes": attributes_at(catalog.attributes, row),
                "revision": revision,
                "removed": False,
            }
            for row in range(len(catalog))
        ]

    def revision(self) -> int:
        """The number of times that items were written."""
        found = self._database.rows(_REVISION, {"tenant": self._tenant})
        return int(found[0][0]) if found else 0

    def read(self) -> Catalog:
        return _catalog(self._rows(schema.items, ~schema.items.c.removed))

    def find(self, item_ids: Sequence[str]) -> Catalog:
        """Those of the items that there are, in no order."""
        columns = schema.items.c
        return _catalog(self._rows(schema.items, columns.item_id.in_(item_ids), ~columns.removed))

    def page(self, after: str, limit: int) -> Catalog:
        """The first `limit` items whose ids come after this one, in the order of ids, without images and sounds."""
        columns = schema.items.c
        told = [null().label(column.name) if column.name in MEDIA else column for column in columns]
        mine = (columns.tenant == self._tenant) & (columns.item_id > after) & ~columns.removed
        statement = select(*told).where(mine).order_by(columns.item_id).limit(limit)
        with self._database.read() as connection:
            return _catalog(connection.execute(statement).all())

    def changes(self, since: int | None) -> tuple[Catalog, int]:
        later = () if since is None else (schema.items.c.revision > since,)
        # What comes between the two is told again the next time, never missed.
        revision = self.revision()
        return _catalog(self._rows(schema.items, *later)), revision


class StoredUsers(_Keyed):
    """`zhiyin.core.stores.UserStore`."""

    def upsert(self, users: Users) -> int:
        """Adds people, or replaces what is known of them; the number of rows written."""
        rows = [
            {"tenant": self._tenant, "user_id": users.user_id[row], "attributes": attributes_at(users.attributes, row)}
            for row in range(len(users))
        ]
        return self._upsert(schema.users, "user_id", rows)

    def page(self, after: str, limit: int) -> Users:
        """The first `limit` people, also those known by their events alone, whose ids come after this one, in the order
        of ids.
        """
        values = {"tenant": self._tenant, "after": after, "limit": limit}
        with self._database.read() as connection:
            people = [row[0] for row in connection.execute(_PEOPLE, values)]
            rows = self._rows(schema.users, schema.users.c.user_id.in_(people))
        told = {row.user_id: row.attributes for row in rows}
        return Users.build(user_id=people, attributes=attribute_columns(told.get(user_id, {}) for user_id in people))

    def attributes(self, user_id: str) -> Mapping[str, str]:
        table = schema.users
        statement = select(table.c.attributes).where(table.c.tenant == self._tenant, table.c.user_id == user_id)
        with self._database.read() as connection:
            known: Mapping[str, str] = connection.execute(statement).scalar() or {}
            return known

    def read(self) -> Users:
        return _users(self._rows(schema.users))

    def find(self, user_ids: Sequence[str]) -> Users:
        """Those of the people who were written, in no order."""
        return _users(self._rows(schema.users, schema.users.c.user_id.in_(user_ids)))


def _catalog(rows: Sequence[Any]) -> Catalog:
    return Catalog.build(
        item_id=[row.item_id for row in rows],
        title=[row.title for row in rows],
        description=[row.description for row in rows],
        categories=[row.categories for row in rows],
        price=[np.nan if row.price is None else row.price for row in rows],
        image=[row.image for row in rows],
        audio=[row.audio for row in rows],
        available_from=[MISSING_TIME if row.available_from is None else row.available_from for row in rows],
        available=[row.available for row in rows],
        attributes=attribute_columns(row.attributes for row in rows),
    )


def _users(rows: Sequence[Any]) -> Users:
    attributes = attribute_columns(row.attributes for row in rows)
    return Users.build(user_id=[row.user_id for row in rows], attributes=attributes)
