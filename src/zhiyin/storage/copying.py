"""All that a database holds, of every tenant, read out as it was at one moment and put into another one."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy import text as sql

from zhiyin.core.errors import StoreError
from zhiyin.storage import schema
from zhiyin.storage.database import Database

Row: TypeAlias = Mapping[str, Any]

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        schema.events,
        schema.items,
        schema.catalog_revisions,
        schema.users,
        schema.shown_lists,
        schema.tastes,
        schema.keys,
    )
}
"""By name, all that hold what somebody brought."""

READABLE = frozenset({*TABLES, schema.former_impressions.name})
"""Names of tables that can be put into a database; backups may come from earlier versions."""

_ROWS = 10_000


@contextmanager
def reading(database: Database) -> Iterator["Reader"]:
    """Raises `StoreError`."""
    with database.read() as connection:
        yield Reader(connection)


class Reader:
    """One consistent state, whatever is written meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, table: str) -> Iterator[Row]:
        """In the order in which they came."""
        statement = select(TABLES[table]).order_by(_order(TABLES[table]))
        streamed = self._connection.execution_options(yield_per=_ROWS).execute(statement)
        for row in streamed.mappings():
            yield dict(row)


def fill(database: Database, tables: Iterable[tuple[str, Iterable[Row]]]) -> dict[str, int]:
    """Puts rows into a database that holds none, all or nothing; how many, by table.

    Raises `StoreError` for a database that holds something.
    """
    written = dict.fromkeys(TABLES, 0)
    with database.bulk() as connection:
        for name, table in TABLES.items():
            if connection.execute(select(table).limit(1)).first() is not None:
                raise StoreError(f"{database.name}: the table {name} is not empty; restore into a new store")
        for name, rows in tables:
            if name in TABLES:
                written[name] += _put(connection, TABLES[name], rows)
            else:
                schema.former_impressions.create(connection)
                _put(connection, schema.former_impressions, rows)
                written[schema.shown_lists.name] += schema.gather_impressions(connection)
        database.filled(connection)
    return written


def _put(connection: Connection, table: Table, rows: Iterable[Row]) -> int:
    coming, written = iter(rows), 0
    while some := list(islice(coming, _ROWS)):
        connection.execute(insert(table), some)
        written += len(some)
    return written


def _order(table: Table) -> Any:
    if "seq" in table.c:
        return table.c.seq
    return sql("rowid") if table in schema.NUMBERED else table.c.tenant
