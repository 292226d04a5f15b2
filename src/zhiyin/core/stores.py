"""Protocols of storage. A store is opened for one tenant: the handle carries it, no query can leave it out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NewType, Protocol, Self, TypeAlias

import numpy as np

from zhiyin.core.arrays import FloatVector, IntVector, TextVector
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.events import Events, text
from zhiyin.core.results import Recommendations

Cursor = NewType("Cursor", int)
"""A place in the event log: everything up to and including this sequence number has been read."""


@dataclass(frozen=True)
class AppendReport:
    """added: events that are new; known: events whose id the log already held, left as they were."""

    added: int
    known: int


@dataclass(frozen=True)
class ErasureReport:
    """Rows removed, by table."""

    removed: dict[str, int]


@dataclass(frozen=True)
class ShownList:
    """A list and when it was shown: epoch ms, `MISSING_TIME` where nobody knows."""

    served: Recommendations
    shown_at: int


@dataclass(frozen=True, eq=False)
class Impressions:
    """What was shown, where, with which propensity: one row an item of a served list."""

    recommendation_id: TextVector
    user_id: TextVector
    item_id: TextVector
    position: IntVector
    score: FloatVector
    propensity: FloatVector
    rung: TextVector
    manifest_id: TextVector
    timestamp: IntVector

    def __len__(self) -> int:
        return len(self.user_id)

    @classmethod
    def of(cls, lists: Sequence[ShownList]) -> Self:
        """The items of all `lists`, list after list."""
        places = [(shown.served, item, shown.shown_at) for shown in lists for item in shown.served.items]
        return cls(
            recommendation_id=text(served.recommendation_id for served, _, _ in places),
            user_id=text(served.user_id for served, _, _ in places),
            item_id=text(item.item_id for _, item, _ in places),
            position=np.asarray([item.rank for _, item, _ in places], np.int64),
            score=np.asarray([item.score for _, item, _ in places], np.float64),
            propensity=np.asarray([item.propensity for _, item, _ in places], np.float64),
            rung=text(served.rung for served, _, _ in places),
            manifest_id=text(served.manifest_id for served, _, _ in places),
            timestamp=np.asarray([time for _, _, time in places], np.int64),
        )


@dataclass(frozen=True)
class Taste:
    """What a user likes, in words. source: "generated" by a language model or "edited" by the user.

    basis: tells what a generated one was made of.
    """

    text: str
    source: Literal["generated", "edited"]
    basis: str = ""


@dataclass(frozen=True)
class Which:
    """Events of this user, of this item and of this kind; None for any."""

    user_id: str | None = None
    item_id: str | None = None
    event: str | None = None


class EventStore(Protocol):
    def append(self, events: Events) -> AppendReport:
        """Durable when it returns; idempotent by event_id. An event without an id is given one."""
        ...

    def read(self, since: Cursor | None = None) -> Iterator[Events]:
        """Batches in the order of the log, each at most some tens of thousands of rows."""
        ...

    def history(self, user_id: str, limit: int) -> Events:
        """The user's latest `limit` events, oldest first."""
        ...

    def histories(self, user_ids: Sequence[str], limit: int) -> Events:
        """The latest `limit` events of each of them, in any order, without what they belong to: ids of their own, of
        sessions and of lists, and places in those.
        """
        ...

    def find(self, which: Which, limit: int, since: Cursor | None = None) -> Events:
        """The first `limit` of those events behind a place, in the order of the log."""
        ...

    def remove(self, which: Which) -> int:
        """Takes those events of one user or one item out of the log; how many there were. Raises `InputError` where
        neither is named.
        """
        ...

    def last_sequence(self) -> int:
        """The sequence number of the latest event, 0 when there is none."""
        ...

    def user_counts(self, limit: int, prefix: str = "") -> list[tuple[str, int]]:
        """Known users whose id starts with `prefix`, with their number of events, most active first."""
        ...

    def erase(self, user_id: str) -> ErasureReport: ...


class CatalogStore(Protocol):
    def upsert(self, catalog: Catalog) -> int:
        """Adds or replaces items; the number of rows written."""
        ...

    def read(self) -> Catalog: ...

    def find(self, item_ids: Sequence[str]) -> Catalog:
        """Those of the items that there are, in no order."""
        ...

    def page(self, after: str, limit: int) -> Catalog:
        """The first `limit` items whose ids come after this one, in the order of ids, without images and sounds."""
        ...

    def remove(self, item_ids: Sequence[str]) -> int:
        """Takes items out; how many there were. To those who ask for changes they are items that cannot be had."""
        ...

    def changes(self, since: int | None) -> tuple[Catalog, int]:
        """Items written or removed after the revision `since`, as they are now, and the revision that this is; None for
        all.
        """
        ...

    def revision(self) -> int:
        """A larger number after every change, and cheap enough to ask for at each request."""
        ...


class UserStore(Protocol):
    def upsert(self, users: Users) -> int: ...

    def read(self) -> Users: ...

    def find(self, user_ids: Sequence[str]) -> Users:
        """Those of the people who were written, in no order."""
        ...

    def page(self, after: str, limit: int) -> Users:
        """The first `limit` people, also those known by their events alone, whose ids come after this one, in the order
        of ids.
        """
        ...

    def attributes(self, user_id: str) -> Mapping[str, str]:
        """What is known of one user, by name; empty for a stranger."""
        ...


class ImpressionStore(Protocol):
    def log(self, lists: Sequence[ShownList]) -> int:
        """Keeps lists as they were shown; the number of those that were not known."""
        ...

    def read(self, recommendation_id: str) -> Impressions:
        """Of one list, in its order. Raises `NotFoundError` for an id that was never logged."""
        ...

    def every(self) -> Iterator[Events]:
        """Batches of all that was shown, as events of the kind "impression", of some thousand lists each."""
        ...


class TasteStore(Protocol):
    def read(self, user_id: str) -> Taste | None: ...

    def write(self, user_id: str, taste: Taste) -> Taste:
        """What is kept then: a generated one never takes the place of an edited one."""
        ...

    def clear(self, user_id: str) -> None: ...


Scope: TypeAlias = Literal["read", "ingest", "admin"]


@dataclass(frozen=True)
class Key:
    """Who may ask. key_id: may be told to anybody. scopes: what for. user_id: the one user whose things it opens; None
    for everybody's. note: what it is for, to those who list keys. created, expires: epoch ms; None for never.
    parent: the key that asked for it, without which it opens nothing.
    """

    key_id: str
    scopes: tuple[Scope, ...]
    user_id: str | None
    note: str
    created: int
    expires: int | None
    revoked: bool = False
    parent: str | None = None


class KeyStore(Protocol):
    def add(self, key: Key, digest: str) -> None:
        """digest: of the secret, which is nowhere kept."""
        ...

    def find(self, key_id: str) -> tuple[Key, str] | None:
        """The key and the digest of its secret."""
        ...

    def every(self) -> list[Key]:
        """Keys of no one user, in the order in which they were made."""
        ...

    def revoke(self, key_id: str) -> bool:
        """Whether there was such a key, and it was not revoked."""
        ...

    def clear(self, before: int) -> int:
        """Forgets keys of one user that expired before (epoch ms); how many."""
        ...


Held: TypeAlias = Literal["log", "items", "users"]


class Stores(Protocol):
    """Everything one tenant keeps at one URL."""

    events: EventStore
    catalog: CatalogStore
    users: UserStore
    impressions: ImpressionStore
    tastes: TasteStore
    keys: KeyStore

    def transaction(self, *held: Held) -> AbstractContextManager[None]:
        """All that this thread writes to these stores inside is kept, or on an error none of it is.

        held: what nobody else changes from the beginning, so that what is read inside stays so until it ends.
        """
        ...

    def close(self) -> None: ...
