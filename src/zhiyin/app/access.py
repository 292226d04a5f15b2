"""Who may ask for what: keys with scopes, of which the store keeps a digest alone."""

import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import get_args

from zhiyin.app.clock import now_ms
from zhiyin.app.serving.recording import checked_id
from zhiyin.core.errors import InputError
from zhiyin.core.histories import DAY
from zhiyin.core.stores import Key, KeyStore, Scope
from zhiyin.storage.opening import open_stores

TRUSTED_S = 5.0
"""How long a key that was found good is not looked up again: so much later a revoked one is refused everywhere."""
REMEMBERED = 10_000
_WRITTEN = re.compile(r"zy-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Caller:
    """Who asks. user_id: the one user whose things are theirs to see and to change; None for everybody's."""

    key_id: str
    scopes: frozenset[Scope]
    user_id: str | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


@contextmanager
def opened_access(store: str, tenant: str) -> Iterator["Access"]:
    """The keys of a tenant at the URL of a store."""
    stores = open_stores(store, tenant)
    try:
        yield Access(stores.keys, now_ms)
    finally:
        stores.close()


class Access:
    """The keys of one tenant. Safe to use from several threads. clock: the time in epoch ms."""

    def __init__(self, keys: KeyStore, clock: Callable[[], int]) -> None:
        self._keys = keys
        self._clock = clock
        self._trusted: OrderedDict[str, tuple[Caller, int | None, float]] = OrderedDict()
        self._lock = threading.Lock()

    def create(
        self,
        scopes: Sequence[str],
        note: str = "",
        lasting_ms: int | None = None,
        *,
        user_id: str | None = None,
        parent: str | None = None,
    ) -> tuple[str, Key]:
        """A new key: what is sent with requests, told this once, and what is kept of it.

        lasting_ms: None for as long as it is not revoked. user_id: the one user whose things it opens. parent: the key
        that asks for it, without which it opens nothing. Raises `InputError` for no scope or one that there is not, and
        for an id that cannot be one.
        """
        known: tuple[Scope, ...] = get_args(Scope)
        if not scopes or set(scopes) - set(known):
            raise InputError(
                f"a key has one or more of the scopes {', '.join(known)}, not {', '.join(scopes) or 'none'}"
            )
        opened = tuple(scope for scope in known if scope in scopes)
        now, secret = self._clock(), secrets.token_urlsafe(32)
        expires = None if lasting_ms is None else now + lasting_ms
        key = Key(secrets.token_hex(6), opened, user_id, note, now, expires, parent=parent)
        if user_id is not None:
            checked_id(user_id)
            self._keys.clear(now - DAY)
        self._keys.add(key, _digest(secret))
        return f"zy-{key.key_id}-{secret}", key

    def every(self) -> list[Key]:
        """Keys of no one user."""
        return self._keys.every()

    def revoke(self, key_id: str) -> bool:
        """Whether there was such a key, and it was not revoked."""
        return self._keys.revoke(key_id)

    def in_use(self) -> bool:
        """Whether there ever was a key: a shop that was closed does not open by itself when the last one ends."""
        return bool(self._keys.every())

    def remembered(self, written: str) -> Caller | None:
        """Who sent this, if they were found good a moment ago: without asking the store."""
        known = self._trusted.get(_digest(written))
        if known is None:
            return None
        caller, expires, until = known
        return caller if time.monotonic() < until and (expires is None or self._clock() < expires) else None

    def caller(self, written: str) -> Caller | None:
        """Who sent this; None for a key that is none, or is revoked, or has expired."""
        parts = _WRITTEN.fullmatch(written)
        if parts is None or (found := self._keys.find(parts[1])) is None:
            return None
        key, digest = found
        if not hmac.compare_digest(digest, _digest(parts[2])) or not self._good(key):
            return None
        caller = Caller(key.key_id, frozenset(key.scopes), key.user_id)
        with self._lock:
            self._trusted[_digest(written)] = caller, key.expires, time.monotonic() + TRUSTED_S
            while len(self._trusted) > REMEMBERED:
                self._trusted.popitem(last=False)
        return caller

    def _good(self, key: Key) -> bool:
        if key.revoked or (key.expires is not None and key.expires <= self._clock()):
            return False
        if key.parent is None:
            return True
        parent = self._keys.find(key.parent)
        return parent is not None and self._good(parent[0])


def _digest(secret: str) -> str:
    # Secrets are long and random: nothing slower is needed to keep them from being guessed.
    return sha256(secret.encode()).hexdigest()
