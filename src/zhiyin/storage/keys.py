"""Who may ask."""

from sqlalchemy import Row, delete, insert, select, update

from zhiyin.core.stores import Key
from zhiyin.storage.database import Database
from zhiyin.storage.schema import keys


class StoredKeys:
    """`zhiyin.core.stores.KeyStore`."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._mine = keys.c.tenant == tenant

    def add(self, key: Key, digest: str) -> None:
        columns = {**vars(key), "scopes": list(key.scopes), "tenant": self._tenant, "digest": digest}
        with self._database.write() as connection:
            connection.execute(insert(keys), columns)

    def find(self, key_id: str) -> tuple[Key, str] | None:
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(self._mine, keys.c.key_id == key_id)).one_or_none()
        return None if row is None else (_key(row), row.digest)

    def every(self) -> list[Key]:
        statement = select(keys).where(self._mine, keys.c.user_id.is_(None)).order_by(keys.c.created, keys.c.key_id)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(statement)]

    def revoke(self, key_id: str) -> bool:
        active = self._mine & (keys.c.key_id == key_id) & ~keys.c.revoked
        with self._database.write() as connection:
            return connection.execute(update(keys).where(active).values(revoked=True)).rowcount > 0

    def clear(self, before: int) -> int:
        past = self._mine & keys.c.user_id.is_not(None) & (keys.c.expires < before)
        with self._database.write() as connection:
            return connection.execute(delete(keys).where(past)).rowcount


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(row.key_id, tuple(row.scopes), row.user_id, row.note, row.created, row.expires, row.revoked, row.parent)
