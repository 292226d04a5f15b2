"""The tables, and the ordered migrations that bring a database to them."""

import time
from collections.abc import Callable

from sqlalchemy import (
    JSON,
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
)

from zhiyin.core.errors import StoreError

metadata = MetaData()

versions = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied", Integer, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("value", Float),
    Column("timestamp", Integer),
    Column("session_id", Text),
    Column("recommendation_id", Text),
    Column("position", Integer),
    UniqueConstraint("tenant", "event_id"),
    Index("events_by_user", "tenant", "user_id", "timestamp", "seq"),
    # A sequence number that an erased event had must not come back: a cursor would step over its new owner.
    sqlite_autoincrement=True,
)

items = Table(
    "items",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("title", Text),
    Column("description", Text),
    Column("categories", JSON, nullable=False),
    Column("price", Float),
    Column("image", Text),
    Column("audio", Text),
    Column("available_from", Integer),
    Column("available", Boolean, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("tenant", "item_id"),
    Index("items_by_revision", "tenant", "revision"),
)

catalog_revisions = Table(
    "catalog_revisions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("attributes", JSON, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id"),
)

impressions = Table(
    "impressions",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("recommendation_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("rung", Text, nullable=False),
    Column("manifest_id", Text, nullable=False),
    Column("timestamp", Integer),
    PrimaryKeyConstraint("tenant", "recommendation_id", "position"),
    Index("impressions_by_user", "tenant", "user_id"),
)

tastes = Table(
    "tastes",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("basis", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "user_id"),
)


def _first_tables(connection: Connection) -> None:
    metadata.create_all(connection, tables=[events, items, users, impressions])


def _catalog_revisions(connection: Connection) -> None:
    metadata.create_all(connection, tables=[catalog_revisions])


def _tastes(connection: Connection) -> None:
    metadata.create_all(connection, tables=[tastes])


def _item_revisions(connection: Connection) -> None:
    # A new database has it from the first migration on, which makes the tables as they are now.
    if "revision" not in {column["name"] for column in inspect(connection).get_columns("items")}:
        connection.exec_driver_sql("ALTER TABLE items ADD COLUMN revision INTEGER DEFAULT '0' NOT NULL")
        connection.exec_driver_sql("CREATE INDEX items_by_revision ON items (tenant, revision)")


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _first_tables,
    _catalog_revisions,
    _tastes,
    _item_revisions,
)
"""Applied in order, each once; one that has been released is never changed."""


def migrate(connection: Connection) -> None:
    """Applies what is missing. Raises `StoreError` for a database that a newer version has written."""
    metadata.create_all(connection, tables=[versions])
    current = connection.execute(select(func.coalesce(func.max(versions.c.version), 0))).scalar_one()
    if current > len(MIGRATIONS):
        raise StoreError(
            f"the store has schema version {current}, this version of zhiyin knows {len(MIGRATIONS)}: upgrade zhiyin"
        )
    for version, migration in enumerate(MIGRATIONS[current:], current + 1):
        migration(connection)
        connection.execute(insert(versions).values(version=version, applied=int(time.time() * 1000)))
