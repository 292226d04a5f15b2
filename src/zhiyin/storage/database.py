"""One SQLite database and its transactions."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Executable, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from zhiyin.core.errors import StoreError
from zhiyin.storage.schema import migrate

BUSY_TIMEOUT_MS = 30_000
BATCH = 50_000


class Database:
    """Transactions over `path`; may be used from several threads.

    A transaction that a thread has opened is joined by whatever that thread does inside it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.engine = create_engine(URL.create("sqlite", database=path))
        self._writing = threading.RLock()
        self._local = threading.local()
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        with self.write() as connection:
            migrate(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All that is written inside is durable at the end, or nothing of it is. Raises `StoreError`."""
        if (joined := self._open()) is not None:
            yield joined
            return
        # The driver's own waiting for a lock starves under many writers; within one process a queue is fair.
        with self._writing, self._errors(), self.engine.connect() as connection:
            writer = connection.execution_options(zhiyin_begin="BEGIN IMMEDIATE")
            with writer.begin():
                self._local.connection = writer
                try:
                    yield writer
                finally:
                    self._local.connection = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent state, with this thread's own unfinished writes. Raises `StoreError`."""
        if (joined := self._open()) is not None:
            yield joined
            return
        with self._errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def batches(self, statement: Executable, tenant: str, after: int = 0) -> Iterator[Sequence[Any]]:
        """At most `BATCH` rows at a time, each read in a transaction of its own.

        statement: takes `tenant`, `after` and `limit`; the first column of its rows is their place, by which they are
        in order, and which is above `after`.
        """
        while True:
            with self.read() as connection:
                rows = connection.execute(statement, {"tenant": tenant, "after": after, "limit": BATCH}).all()
            if not rows:
                return
            after = rows[-1][0]
            yield rows

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database file, as far as readers allow."""
        if self._open() is None:
            with self._writing, self._errors(), self.engine.connect() as connection:
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                autocommit.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        self.engine.dispose()

    def _open(self) -> Connection | None:
        connection: Connection | None = getattr(self._local, "connection", None)
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"{self.path}: {cause}; check that the file is a zhiyin store, can be written and its disk is not full"
            ) from error


def _configure(connection: Any, _record: Any) -> None:
    # The driver would begin transactions late and in its own way; `_begin` does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("zhiyin_begin", "BEGIN"))
