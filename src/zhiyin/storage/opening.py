"""Opening a store by its URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from zhiyin.core.errors import StoreError
from zhiyin.core.stores import CatalogStore, EventStore, Held, ImpressionStore, KeyStore, TasteStore, UserStore
from zhiyin.storage.database import Database
from zhiyin.storage.events import StoredEvents
from zhiyin.storage.keys import StoredKeys
from zhiyin.storage.shown import StoredImpressions
from zhiyin.storage.sqlite import SqliteDatabase
from zhiyin.storage.tables import StoredCatalog, StoredUsers
from zhiyin.storage.tastes import StoredTastes

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_GIVE = "give a SQLite file as sqlite:///path.db, or a PostgreSQL database as postgresql://user@host/database"


@dataclass(eq=False)
class DatabaseStores:
    """`zhiyin.core.stores.Stores` in one database; safe to use from several threads."""

    events: EventStore
    catalog: CatalogStore
    users: UserStore
    impressions: ImpressionStore
    tastes: TasteStore
    keys: KeyStore
    database: Database
    tenant: str

    @contextmanager
    def transaction(self, *held: Held) -> Iterator[None]:
        """All that this thread writes to these stores inside is kept, or on an error none of it is.

        held: what nobody else changes from the beginning, so that what is read inside stays so until it ends.
        """
        with self.database.write() as connection:
            for what in sorted(held):
                self.database.lock(connection, f"{what} of {self.tenant}")
            yield

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """A transaction, prepared for far more rows than a request brings."""
        with self.database.bulk():
            yield

    def close(self) -> None:
        self.database.close()


def open_stores(url: str, tenant: str = "default", *, new: bool = True) -> DatabaseStores:
    """The stores of `tenant` at `url`: sqlite:///path.db, or postgresql://user@host/database. A new file is made, and
    tables in a new database; older ones are migrated. new: whether a file that is not there is made.

    Raises `StoreError` for another scheme, a file that is not there and not to be made, a path that cannot be written,
    a file that is no store, or a database that does not answer.
    """
    if not tenant:
        raise StoreError("a store is opened for one tenant: give a name that is not empty")
    database = _postgres(url) if url.startswith(_POSTGRES) else _sqlite(url, new=new)
    return DatabaseStores(
        events=StoredEvents(database, tenant),
        catalog=StoredCatalog(database, tenant),
        users=StoredUsers(database, tenant),
        impressions=StoredImpressions(database, tenant),
        tastes=StoredTastes(database, tenant),
        keys=StoredKeys(database, tenant),
        database=database,
        tenant=tenant,
    )


def beside(url: str, name: str) -> Path:
    """Where a file about the store at `url` is, unless it is said: beside the file of a store, named after it; in the
    present folder otherwise, after the database.
    """
    store = url.removeprefix(_SQLITE) if url.startswith(_SQLITE) else urlsplit(url).path.strip("/")
    return Path(f"{store}.{name}")


def _sqlite(url: str, *, new: bool) -> Database:
    if not url.startswith(_SQLITE) or not url.removeprefix(_SQLITE):
        raise StoreError(f"cannot open store {url!r}: {_GIVE}")
    path = Path(url.removeprefix(_SQLITE))
    try:
        folder = path.parent.is_dir()
    except OSError as error:
        raise StoreError(f"cannot open store {url!r}: {error.strerror}") from error
    if not folder:
        raise StoreError(f"cannot open store {url!r}: the folder {path.parent} does not exist; create it first")
    if not new and not path.exists():
        raise StoreError(f"there is no store {url!r}: check the path; 'zhiyin ingest' makes one")
    return SqliteDatabase(str(path))


def _postgres(url: str) -> Database:
    if find_spec("psycopg") is None:
        raise StoreError("a store in PostgreSQL is reached by psycopg: pip install 'zhiyin[postgres]'")
    from zhiyin.storage.postgres import PostgresDatabase  # noqa: PLC0415

    try:
        named = make_url(url)
    except (ArgumentError, ValueError) as error:
        # What was given may hold a password.
        raise StoreError(f"this is no URL of a PostgreSQL database: {_GIVE}") from error
    return PostgresDatabase(named.set(drivername="postgresql+psycopg"))
