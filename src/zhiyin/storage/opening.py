"""Opening a store by its URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zhiyin.core.errors import StoreError
from zhiyin.core.stores import CatalogStore, EventStore, ImpressionStore, TasteStore, UserStore
from zhiyin.storage.database import Database
from zhiyin.storage.events import SqliteEvents
from zhiyin.storage.tables import SqliteCatalog, SqliteImpressions, SqliteUsers
from zhiyin.storage.tastes import SqliteTastes

_SCHEME = "sqlite:///"
_BULK_CACHE_KIB = 196_608
"""Indexes are written at random places: what does not fit is written and read again for every batch."""
_BULK_JOURNAL_PAGES = 65_536
"""256 MB: pages that several commits write go from the journal into the database once. It ends with the connection."""


@dataclass(eq=False)
class SqliteStores:
    """`zhiyin.core.stores.Stores` in one SQLite file; safe to use from several threads."""

    events: EventStore
    catalog: CatalogStore
    users: UserStore
    impressions: ImpressionStore
    tastes: TasteStore
    database: Database

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that this thread writes to these stores inside is kept, or on an error none of it is."""
        with self.database.write() as connection:
            for pragma in (f"cache_size=-{_BULK_CACHE_KIB}", f"wal_autocheckpoint={_BULK_JOURNAL_PAGES}"):
                connection.exec_driver_sql(f"PRAGMA {pragma}").close()
            yield

    def close(self) -> None:
        self.database.close()


def open_stores(url: str, tenant: str = "default") -> SqliteStores:
    """The stores of `tenant` at `url` (sqlite:///path.db); a new file is made, an older one migrated.

    Raises `StoreError` for another scheme, a path that cannot be written, or a file that is no store.
    """
    if not url.startswith(_SCHEME) or not url.removeprefix(_SCHEME):
        raise StoreError(f"cannot open store {url!r}: give a SQLite file as sqlite:///path.db")
    if not tenant:
        raise StoreError("a store is opened for one tenant: give a name that is not empty")
    path = Path(url.removeprefix(_SCHEME))
    try:
        folder = path.parent.is_dir()
    except OSError as error:
        raise StoreError(f"cannot open store {url!r}: {error.strerror}") from error
    if not folder:
        raise StoreError(f"cannot open store {url!r}: the folder {path.parent} does not exist; create it first")
    database = Database(str(path))
    return SqliteStores(
        events=SqliteEvents(database, tenant),
        catalog=SqliteCatalog(database, tenant),
        users=SqliteUsers(database, tenant),
        impressions=SqliteImpressions(database, tenant),
        tastes=SqliteTastes(database, tenant),
        database=database,
    )
