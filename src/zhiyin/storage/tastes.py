"""What users like, in words."""

from sqlalchemy import ColumnElement, delete, or_, select

from zhiyin.core.stores import Taste
from zhiyin.storage.database import Database, storable
from zhiyin.storage.schema import tastes


class StoredTastes:
    """`zhiyin.core.stores.TasteStore`."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    def read(self, user_id: str) -> Taste | None:
        statement = select(tastes.c.text, tastes.c.source, tastes.c.basis).where(*self._of(user_id))
        with self._database.read() as connection:
            found = connection.execute(statement).one_or_none()
        return None if found is None else Taste(*found)

    def write(self, user_id: str, taste: Taste) -> Taste:
        columns = {"text": storable(taste.text), "source": taste.source, "basis": taste.basis}
        statement = self._database.insert(tastes).values(tenant=self._tenant, user_id=user_id, **columns)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "user_id"],
            set_=columns,
            where=or_(tastes.c.source == "generated", statement.excluded.source == "edited"),
        )
        with self._database.write() as connection:
            connection.execute(statement)
            return self.read(user_id) or taste

    def clear(self, user_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(delete(tastes).where(*self._of(user_id)))

    def _of(self, user_id: str) -> tuple[ColumnElement[bool], ...]:
        return tastes.c.tenant == self._tenant, tastes.c.user_id == user_id
