"""A store in a PostgreSQL database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Table, TextClause, create_engine
from sqlalchemy import text as sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from zhiyin.storage.database import Database, Rows

POOLED, BESIDES = 8, 32
"""Connections that are kept open, and how many more there may be at a time."""
PATIENCE_S = 10
"""How long a connection is waited for."""
LOCK_TIMEOUT_MS = 30_000
COPIED = 500
"""From so many rows on they are copied: a statement a row is the faster below it (measured: 100 rows 7.7 ms against
10.9, 1,000 rows 26 against 13)."""

_ARRIVING = "pg_temp.zhiyin_arriving"


class PostgresDatabase(Database):
    """The database at `url`; its tables are made where there are none."""

    advice = "check that the database runs, that its user may create tables there and that its disk is not full"
    driver = psycopg
    insert = staticmethod(postgresql.insert)

    def __init__(self, url: URL) -> None:
        engine = create_engine(
            url,
            pool_size=POOLED,
            max_overflow=BESIDES,
            pool_timeout=PATIENCE_S,
            # Connections that the database closed, as it does when it is restarted, are found out before they are used.
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": PATIENCE_S,
                "application_name": "zhiyin",
                "options": f"{url.query.get('options', '')} -c lock_timeout={LOCK_TIMEOUT_MS}",
            },
        )
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
        super().__init__(url.set(drivername="postgresql", query={}).render_as_string(), engine)

    @contextmanager
    def bulk(self) -> Iterator[Connection]:
        with self.write() as connection:
            yield connection

    def lock(self, connection: Connection, what: str) -> None:
        connection.execute(sql("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"zhiyin {what}"})

    def add(self, connection: Connection, table: Table, columns: Sequence[str], key: Sequence[str], rows: Rows) -> int:
        names, places = ", ".join(columns), ", ".join("%s" for _ in columns)
        into, new = f"INSERT INTO {table.name} ({names})", f"ON CONFLICT ({', '.join(key)}) DO NOTHING"
        if len(rows) < COPIED:
            return connection.exec_driver_sql(f"{into} VALUES ({places}) {new}", list(rows)).rowcount
        # A table that arrived rows wait in, of this transaction alone.
        for statement in (
            f"DROP TABLE IF EXISTS {_ARRIVING}",
            f"CREATE TEMPORARY TABLE {_ARRIVING} ON COMMIT DROP AS SELECT {names} FROM {table.name} WITH NO DATA",  # noqa: S608
            f"ALTER TABLE {_ARRIVING} ADD COLUMN place BIGINT GENERATED ALWAYS AS IDENTITY",
        ):
            connection.exec_driver_sql(statement)
        driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        with driver.cursor() as cursor, cursor.copy(f"COPY {_ARRIVING} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        ordered = f"SELECT {names} FROM {_ARRIVING} ORDER BY place"  # noqa: S608
        return connection.exec_driver_sql(f"{into} {ordered} {new}").rowcount

    def filled(self, connection: Connection) -> None:
        places = "pg_get_serial_sequence('events', 'seq')"
        behind = f"SELECT setval({places}, coalesce(max(seq), 0) + 1, false) FROM events"  # noqa: S608
        connection.exec_driver_sql(behind)

    def forget(self) -> None:
        """The database clears deleted rows away by itself, in its own time."""

    def _rows(self, statement: TextClause, values: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        with self._at_once.connect() as connection:
            return [connection.execute(statement, each).all() for each in values]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            reader = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with reader.begin():
                yield reader

    def _cause(self, error: BaseException) -> str:
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        return said or super()._cause(error)
