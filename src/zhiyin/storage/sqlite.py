"""A store in one SQLite file."""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, TextClause, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL

from zhiyin.storage.database import Database, Rows

BUSY_TIMEOUT_MS = 30_000
_ASKING_S, _SOON_S, _ASKING_LATER_S = 0.001, 1.0, 0.01
"""How often a lock is asked for at first, and after a while."""
FORGETTING_TIMEOUT_MS = 500
POOLED, BESIDES = 8, 64
"""Connections that are kept open, and how many more there may be at a time."""
_CACHE_KIB = 16_384
"""Pages that each connection keeps; what else is asked for is with the system, which keeps it once for all of them."""
_BULK_CACHE_KIB = 196_608
"""Indexes are written at random places: what does not fit is written and read again for every batch."""
_BULK_JOURNAL_PAGES = 65_536
"""256 MB: pages that several commits write go from the journal into the database once. It ends with the connection."""


class SqliteDatabase(Database):
    """The file `path`, which is made where there is none."""

    advice = "check that the file is a zhiyin store, can be written and its disk is not full"
    driver = sqlite3
    insert = staticmethod(sqlite.insert)

    def __init__(self, path: str) -> None:
        self._one_writer = threading.RLock()
        self._readers: deque[sqlite3.Connection] = deque()
        self._closed = False
        engine = create_engine(URL.create("sqlite", database=path), pool_size=POOLED, max_overflow=BESIDES)
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        super().__init__(path, engine)

    @contextmanager
    def bulk(self) -> Iterator[Connection]:
        with self.write() as connection:
            for pragma in (f"cache_size=-{_BULK_CACHE_KIB}", f"wal_autocheckpoint={_BULK_JOURNAL_PAGES}"):
                connection.exec_driver_sql(f"PRAGMA {pragma}").close()
            yield connection

    def lock(self, connection: Connection, what: str) -> None:
        """Whoever writes holds everything."""

    def add(self, connection: Connection, table: Table, columns: Sequence[str], key: Sequence[str], rows: Rows) -> int:
        # DO NOTHING for this one conflict: OR IGNORE would swallow every other broken constraint as well.
        statement = (
            f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"  # noqa: S608
            f" ON CONFLICT ({', '.join(key)}) DO NOTHING"
        )
        return connection.exec_driver_sql(statement, list(rows)).rowcount

    def filled(self, connection: Connection) -> None:
        """It goes on behind the last place by itself."""

    def forget(self) -> None:
        """Moves the write-ahead log into the database file, as far as readers allow."""
        if self._open() is None:
            with self._one_writer, self._errors(), self.engine.connect() as connection:
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                # Nobody is to wait for a reader that goes on for long: the next erasure or start gets to it.
                for pragma in (
                    f"busy_timeout={FORGETTING_TIMEOUT_MS}",
                    "wal_checkpoint(TRUNCATE)",
                    f"busy_timeout={BUSY_TIMEOUT_MS}",
                ):
                    autocommit.exec_driver_sql(f"PRAGMA {pragma}").close()

    def close(self) -> None:
        super().close()
        self._closed = True
        while self._readers:
            self._readers.pop().close()

    def _rows(self, statement: TextClause, values: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        # By the driver itself: of the time that a pooled connection and its transaction take, this is a third.
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._reader_of_its_own()
        try:
            found: list[Sequence[Any]] = [reader.execute(statement.text, each).fetchall() for each in values]
        except BaseException:
            reader.close()
            raise
        if self._closed or len(self._readers) >= POOLED:
            reader.close()
        else:
            self._readers.append(reader)
        return found

    def _reader_of_its_own(self) -> sqlite3.Connection:
        pooled = self.engine.raw_connection()
        driver: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
        pooled.detach()
        return driver

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # Within one process a queue is fair.
        with self._one_writer, self.engine.connect() as connection:
            writer = connection.execution_options(zhiyin_writes=True)
            with writer.begin():
                yield writer

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            yield connection


def _configure(connection: Any, _record: Any) -> None:
    # The driver would begin transactions late and in its own way; `_begin` does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        f"cache_size=-{_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("zhiyin_writes"):
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    """Asks for the lock at short intervals: the database itself looks less often the longer one has waited."""
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    began = time.monotonic()
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if not _is_busy(error) or waited >= BUSY_TIMEOUT_MS / 1000:
                    raise
                time.sleep(_ASKING_S if waited < _SOON_S else _ASKING_LATER_S)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The lowest byte; what is above it tells why.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
