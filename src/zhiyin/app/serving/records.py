"""People, items and events as the store holds them: listed, looked up, changed and removed."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from zhiyin.app.serving.committer import DELAY_S, Committer
from zhiyin.app.serving.recording import checked_events, checked_id, checked_items, checked_users
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.errors import NotFoundError
from zhiyin.core.events import Events
from zhiyin.core.stores import AppendReport, Cursor, Stores, Which

LOGGED_S = 3 * DELAY_S
"""Within which any process has logged what it showed."""


class Records:
    """What one tenant keeps. What is written or removed here is so for the next list."""

    def __init__(
        self,
        stores: Stores,
        clock: Callable[[], int],
        committer: Committer | None = None,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """settle: returns when all lists are made whose making had begun."""
        self._stores = stores
        self._clock = clock
        self._committer = committer
        self._settle = settle

    def people(self, after: str, limit: int) -> Users:
        """The next people in the order of ids, with those known by their events alone."""
        return self._stores.users.page(after, limit)

    def person(self, user_id: str) -> Users:
        """Raises `NotFoundError` for somebody of whom nothing was written and no event came."""
        found = self._stores.users.find([checked_id(user_id)])
        if len(found):
            return found
        if not len(self._stores.events.history(user_id, 1)):
            raise NotFoundError(f"no user {user_id!r}")
        return Users.build(user_id=[user_id])

    def write_people(self, people: Users) -> int:
        """Adds people, or replaces what they told; how many. Raises `UsersRefusedError`."""
        return self._stores.users.upsert(checked_users(people))

    def change_person(self, user_id: str, change: Callable[[Users], Users]) -> None:
        """Raises `NotFoundError` as `person` does."""
        with self._stores.transaction("users"):
            self.write_people(change(self.person(user_id)))

    def remove_person(self, user_id: str) -> int:
        """Removes all that is kept of a user, lists that are still to be made or logged, too; how many rows."""
        removed = self._erased(checked_id(user_id))
        self._settle()
        if self._committer is not None:
            self._committer.flush()
            # Other processes over the store log what they showed within their delay.
            time.sleep(LOGGED_S)
        return removed + self._erased(user_id)

    def _erased(self, user_id: str) -> int:
        return sum(self._stores.events.erase(user_id).removed.values())

    def items(self, after: str, limit: int) -> Catalog:
        """The next items in the order of ids."""
        return self._stores.catalog.page(after, limit)

    def some_items(self, item_ids: Sequence[str]) -> Catalog:
        """Those of the items that there are, in no order."""
        return self._stores.catalog.find(item_ids)

    def item(self, item_id: str) -> Catalog:
        """Raises `NotFoundError` for an item that was not written, or was removed."""
        found = self._stores.catalog.find([checked_id(item_id, "item_id")])
        if not len(found):
            raise NotFoundError(f"no item {item_id!r}")
        return found

    def change_item(self, item_id: str, change: Callable[[Catalog], Catalog]) -> None:
        """Raises `NotFoundError` as `item` does."""
        with self._stores.transaction("items"):
            self._stores.catalog.upsert(checked_items(change(self.item(item_id))))

    def remove_item(self, item_id: str) -> int:
        """Removes an item and its events; how many rows."""
        with self._stores.transaction("items", "log"):
            events = self._stores.events.remove(Which(item_id=checked_id(item_id, "item_id")))
            return events + self._stores.catalog.remove([item_id])

    def events(self, which: Which, limit: int, since: Cursor | None = None) -> Events:
        """The next of those events in the order of the log."""
        return self._stores.events.find(which, limit, since)

    def replace_events(self, events: Events) -> AppendReport:
        """Adds events, each in the place of all that the same user did of the same kind with the same item, and of what
        stands before it here.

        Raises `EventsRefusedError`.
        """
        checked = checked_events(events, self._clock())
        keys = zip(checked.user_id, checked.item_id, checked.event, strict=True)
        last = {key: row for row, key in enumerate(keys)}
        with self._stores.transaction("log"):
            for key in last:
                self._stores.events.remove(Which(*key))
            return self._stores.events.append(checked.take(np.sort(np.array(list(last.values()), np.int64))))

    def remove_events(self, which: Which) -> int:
        """Removes those events of one user or item; how many."""
        return self._stores.events.remove(which)
