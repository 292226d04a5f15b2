"""The tables, and the ordered migrations that bring a database to them."""

import time
from collections.abc import Callable, Sequence
from itertools import groupby, islice
from math import isfinite
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql

from zhiyin.core.errors import StoreError

metadata = MetaData()

Whole = BigInteger().with_variant(Integer(), "sqlite")
Name = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""In the order of its bytes, as SQLite has it, whatever the language of the database."""

versions = Table(
    "schema_version",
    metadata,
    Column("version", Whole, primary_key=True),
    Column("applied", Whole, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", Whole, primary_key=True, autoincrement=True),
    Column("tenant", Name, nullable=False),
    Column("event_id", Name, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("item_id", Name, nullable=False),
    Column("event", Name, nullable=False),
    Column("value", Float),
    Column("timestamp", Whole),
    Column("session_id", Text),
    Column("recommendation_id", Name),
    Column("position", Whole),
    UniqueConstraint("tenant", "event_id"),
    # A sequence number that an erased event had must not come back: a cursor would step over its new owner.
    sqlite_autoincrement=True,
)
_OF_ONE_USER = "tenant", "user_id"
_OF_A_HISTORY = "item_id", "event", "value"
"""Events of one user lie all over a log of everybody: the index holds all that a history is made of."""
Index("events_by_user", *(events.c[name] for name in (*_OF_ONE_USER, "timestamp", "seq", *_OF_A_HISTORY))).ddl_if(
    dialect="sqlite"
)
# What has no time comes first, as in SQLite; there it is so by itself, and cannot be said.
Index(
    "events_by_user", *(events.c[name] for name in _OF_ONE_USER), events.c.timestamp.nulls_first(), events.c.seq
).ddl_if(dialect="postgresql")

items = Table(
    "items",
    metadata,
    Column("tenant", Name, nullable=False),
    Column("item_id", Name, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("categories", JSON, nullable=False),
    Column("price", Float),
    Column("image", Text),
    Column("audio", Text),
    Column("available_from", Whole),
    Column("available", Boolean, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("revision", Whole, nullable=False, server_default="0"),
    Column("removed", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("tenant", "item_id"),
    Index("items_by_revision", "tenant", "revision"),
)

catalog_revisions = Table(
    "catalog_revisions",
    metadata,
    Column("tenant", Name, primary_key=True),
    Column("revision", Whole, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("tenant", Name, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("attributes", JSON, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id"),
)

shown_lists = Table(
    "shown_lists",
    metadata,
    Column("tenant", Name, nullable=False),
    Column("recommendation_id", Name, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("rung", Text, nullable=False),
    Column("manifest_id", Text, nullable=False),
    Column("timestamp", Whole),
    # Of each place, best first: item, rank, score or null, propensity.
    Column("places", JSON, nullable=False),
    PrimaryKeyConstraint("tenant", "recommendation_id"),
    Index("shown_lists_by_user", "tenant", "user_id"),
)

tastes = Table(
    "tastes",
    metadata,
    Column("tenant", Name, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("text", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("basis", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id"),
)


keys = Table(
    "keys",
    metadata,
    Column("tenant", Name, nullable=False),
    Column("key_id", Name, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("user_id", Name),
    Column("note", Text, nullable=False),
    Column("created", Whole, nullable=False),
    Column("expires", Whole),
    Column("revoked", Boolean, nullable=False),
    Column("parent", Name),
    PrimaryKeyConstraint("tenant", "key_id"),
    Index("keys_by_user", "tenant", "user_id"),
    Index("keys_by_end", "tenant", "expires"),
)


def place(item_id: str, rank: int, score: float | None, propensity: float) -> tuple[str, int, float | None, float]:
    """One of the places of `shown_lists`."""
    return item_id, rank, None if score is None or not isfinite(score) else float(score), float(propensity)


former_impressions = Table(
    "impressions",
    MetaData(),
    Column("tenant", Name, nullable=False),
    Column("recommendation_id", Name, nullable=False),
    Column("position", Whole, nullable=False),
    Column("user_id", Name, nullable=False),
    Column("item_id", Name, nullable=False),
    # What is no number comes from backups of PostgreSQL, and SQLite keeps nothing for it.
    Column("score", Float),
    Column("propensity", Float, nullable=False),
    Column("rung", Text, nullable=False),
    Column("manifest_id", Text, nullable=False),
    Column("timestamp", Whole),
    PrimaryKeyConstraint("tenant", "recommendation_id", "position"),
    Index("impressions_by_user", "tenant", "user_id"),
)
"""Of stores before the ninth version, a row an item."""
_OF_A_LIST = "tenant", "recommendation_id", "user_id", "rung", "manifest_id", "timestamp"
"""What is the same in all rows of one list."""

_READ_AT_ONCE, _WRITTEN_AT_ONCE = 20_000, 2_000
"""Rows of it, and of what they become."""

NUMBERED = (items, users, shown_lists)
"""Read in the order in which their rows came, by `rowid`."""


def _first_tables(connection: Connection) -> None:
    metadata.create_all(connection, tables=[events, items, users])
    former_impressions.create(connection)


def _catalog_revisions(connection: Connection) -> None:
    metadata.create_all(connection, tables=[catalog_revisions])


def _tastes(connection: Connection) -> None:
    metadata.create_all(connection, tables=[tastes])


def _item_revisions(connection: Connection) -> None:
    if _lacks(connection, items.c.revision):
        connection.exec_driver_sql("ALTER TABLE items ADD COLUMN revision INTEGER DEFAULT '0' NOT NULL")
        connection.exec_driver_sql("CREATE INDEX items_by_revision ON items (tenant, revision)")


def _row_numbers(connection: Connection) -> None:
    for table in (items, users, former_impressions):
        _number(connection, table)


def _removed_items(connection: Connection) -> None:
    if _lacks(connection, items.c.removed):
        connection.exec_driver_sql("ALTER TABLE items ADD COLUMN removed BOOLEAN DEFAULT false NOT NULL")


def _keys(connection: Connection) -> None:
    metadata.create_all(connection, tables=[keys])


def _histories_by_user(connection: Connection) -> None:
    """PostgreSQL would look into the table all the same for what was written lately."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP INDEX events_by_user")
        connection.exec_driver_sql(
            "CREATE INDEX events_by_user ON events (tenant, user_id, timestamp, seq, item_id, event, value)"
        )


def _shown_lists(connection: Connection) -> None:
    """A row a list in place of a row an item."""
    metadata.create_all(connection, tables=[shown_lists])
    _number(connection, shown_lists)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("CREATE UNIQUE INDEX shown_lists_by_row ON shown_lists (rowid)")
        # What a server of before still writes while rows are read would go with the table.
        connection.exec_driver_sql("LOCK TABLE impressions IN ACCESS EXCLUSIVE MODE")
    gather_impressions(connection)


def gather_impressions(connection: Connection) -> int:
    """Puts what is in the former table of impressions where it is now, in the order of the lists' ids, and takes that
    table away; how many lists.
    """
    former, gathered = former_impressions.c, 0
    in_order = select(former_impressions).order_by(former.tenant, former.recommendation_id, former.position)
    rows = connection.execute(in_order, execution_options={"yield_per": _READ_AT_ONCE})
    lists = (_as_list(list(places)) for _, places in groupby(rows, lambda row: (row.tenant, row.recommendation_id)))
    while some := list(islice(lists, _WRITTEN_AT_ONCE)):
        connection.execute(insert(shown_lists), some)
        gathered += len(some)
    former_impressions.drop(connection)
    return gathered


def _as_list(rows: Sequence[Any]) -> dict[str, Any]:
    told = {name: getattr(rows[0], name) for name in _OF_A_LIST}
    return {**told, "places": [place(row.item_id, row.position, row.score, row.propensity) for row in rows]}


def _number(connection: Connection, table: Table) -> None:
    """SQLite gives every table its `rowid` by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN rowid BIGINT GENERATED ALWAYS AS IDENTITY")


def _lacks(connection: Connection, column: Column[Any]) -> bool:
    """A new database has every column from the first migration on, which makes the tables as they are now."""
    return column.name not in {there["name"] for there in inspect(connection).get_columns(column.table.name)}


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _first_tables,
    _catalog_revisions,
    _tastes,
    _item_revisions,
    _row_numbers,
    _removed_items,
    _keys,
    _histories_by_user,
    _shown_lists,
)
"""Applied in order, each once; one that has been released is never changed."""


def migrate(connection: Connection) -> None:
    """Applies what is missing. Raises `StoreError` for a database that a newer version has written, or that holds
    tables of something else by the same names.
    """
    there = set(inspect(connection).get_table_names())
    ours = {table.name for table in (*metadata.sorted_tables, former_impressions)}
    foreign = sorted(there & ours)
    if foreign and versions.name not in there:
        named = ", ".join(foreign)
        raise StoreError(f"the database has tables {named} that are not of zhiyin: give it a database of its own")
    metadata.create_all(connection, tables=[versions])
    current = connection.execute(select(func.coalesce(func.max(versions.c.version), 0))).scalar_one()
    if current > len(MIGRATIONS):
        raise StoreError(
            f"the store has schema version {current}, this version of zhiyin knows {len(MIGRATIONS)}: upgrade zhiyin"
        )
    for version, migration in enumerate(MIGRATIONS[current:], current + 1):
        migration(connection)
        connection.execute(insert(versions).values(version=version, applied=int(time.time() * 1000)))
