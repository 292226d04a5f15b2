"""One database and its transactions, whichever it is."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, Executable, Table, TextClause
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from zhiyin.core.errors import BrokenRowError, StoreError
from zhiyin.storage.schema import migrate

Rows: TypeAlias = Sequence[tuple[Any, ...]]

BATCH = 50_000
IN_PLACE = "tenant || '' = :tenant"
"""Rows of a tenant for those who read in order of place: written so that no index by tenant tempts a database to
collect all of them and sort them for every batch."""


def storable(value: str | None) -> str | None:
    """Without the one character that PostgreSQL cannot hold."""
    return value and value.replace("\0", "")


class Database(ABC):
    """Transactions over `engine`; may be used from several threads.

    A transaction that a thread has opened is joined by whatever that thread does inside it, and a state that it reads
    by whatever it reads inside. name: what errors call it, without any secret. advice: what to look at when it fails.
    driver: the module that speaks to it, as PEP 249 has it. insert: makes a statement that knows of conflicts.
    """

    advice: str
    driver: ModuleType
    insert: Callable[[Table], Any]

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self._local = threading.local()
        try:
            with self.write() as connection:
                self.lock(connection, "schema")
                migrate(connection)
        except BaseException:
            engine.dispose()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All that is written inside is durable at the end, or nothing of it is. Raises `StoreError`."""
        if (joined := self._open()) is not None:
            yield joined
            return
        with self._errors(), self._writing() as connection:
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent state, with this thread's own unfinished writes. Raises `StoreError`."""
        if (joined := self._open() or self._reader()) is not None:
            yield joined
            return
        with self._errors(), self._reading() as connection:
            self._local.reader = connection
            try:
                yield connection
            finally:
                self._local.reader = None

    def batches(
        self, statement: Executable, tenant: str, after: int = 0, at_once: int = BATCH
    ) -> Iterator[Sequence[Any]]:
        """At most `at_once` rows at a time, each time in a transaction of its own.

        statement: takes `tenant`, `after` and `limit`; the first column of its rows is their place, by which they are
        in order, and which is above `after`.
        """
        while True:
            with self.read() as connection:
                rows = connection.execute(statement, {"tenant": tenant, "after": after, "limit": at_once}).all()
            if not rows:
                return
            after = rows[-1][0]
            yield rows

    def rows(self, statement: TextClause, values: Mapping[str, Any]) -> Sequence[Any]:
        """What one statement finds in a state of its own: for what every request asks. Raises `StoreError`."""
        return self.rows_of_each(statement, [values])[0]

    def rows_of_each(self, statement: TextClause, values: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        """What it finds for each of the `values`, every time in a state of its own. Raises `StoreError`."""
        if (joined := self._open() or self._reader()) is not None:
            return [joined.execute(statement, each).all() for each in values]
        with self._errors():
            return self._rows(statement, values)

    @abstractmethod
    def bulk(self) -> AbstractContextManager[Connection]:
        """`write`, prepared for far more rows than a request brings."""

    @abstractmethod
    def lock(self, connection: Connection, what: str) -> None:
        """Until this transaction ends, no other one holds `what`."""

    @abstractmethod
    def add(self, connection: Connection, table: Table, columns: Sequence[str], key: Sequence[str], rows: Rows) -> int:
        """Adds `rows` of `columns` in their order, but those whose `key` is there; how many were added."""

    @abstractmethod
    def filled(self, connection: Connection) -> None:
        """What comes next has a place behind the events that were put in with places of their own."""

    @abstractmethod
    def forget(self) -> None:
        """Takes what was deleted out of what the database keeps besides its tables, as far as it lets one."""

    def close(self) -> None:
        self.engine.dispose()

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _rows(self, statement: TextClause, values: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]: ...

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]: ...

    def _cause(self, error: BaseException) -> str:
        """What the database says of the error, without what the rows hold."""
        return " ".join(str(error).split())

    def _open(self) -> Connection | None:
        connection: Connection | None = getattr(self._local, "connection", None)
        return connection

    def _reader(self) -> Connection | None:
        connection: Connection | None = getattr(self._local, "reader", None)
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        driver = self.driver
        try:
            yield
        except (SQLAlchemyError, driver.Error) as error:
            cause = getattr(error, "orig", None) or error
            broken = isinstance(error, (IntegrityError, DataError, driver.IntegrityError, driver.DataError))
            kind = BrokenRowError if broken else StoreError
            raise kind(f"{self.name}: {self._cause(cause)}; {self.advice}") from error
