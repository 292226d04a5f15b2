"""Entries of a Redis stream, each an event, as checked `Events`."""

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.events import Events
from zhiyin.events.identity import Occurrences
from zhiyin.events.lines import Line, LineReader
from zhiyin.events.reading import events_of
from zhiyin.events.refusals import Refusal, Refusals

LOG = logging.getLogger(__name__)

SCHEMES = ("redis://", "rediss://", "unix://")
PASSWORD = "REDIS_PASSWORD"  # noqa: S105  the name of a variable
"""Names, in the environment, what an address need not tell."""
OPTIONS = {"host", "port", "db", "username", "password", "path", "connection_class"}
AT_ONCE = 1_000
ABANDONED_MS = 10_000
"""Entries that another reader has had for so long without being done with them are taken over."""
TIMEOUT_S = 3.0
PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
"""Between two tries of a server that does not answer."""
WHOLE = b"json"
"""The field of an entry that holds all of an event."""
NO_TEXT, NO_OBJECT = b"\xff", b"null"

Entry: TypeAlias = tuple[bytes | None, Mapping[bytes, bytes] | None]
"""Its id, and its fields; nothing of one that was taken out of the stream."""
Answer = TypeVar("Answer")


class FollowedStream:
    """A stream of Redis (6.2 or later) that a group reads: what comes is given as batches, refused entries go to `log`.

    url: of the server, and behind the last `#` the name of the stream, which need not be there yet. group: of the
    readers that share the entries. columns: key of an entry -> canonical name. An entry has the fields of an event, or
    one field `json` that holds them all. One that tells no id is known by its own and by what the stream is known by,
    which is kept beside it as `STREAM:zhiyin`; one that tells no time by the one at which it came. Entries are given
    again, to this reader or to another one of the group, until they are `settled`. To be closed.

    Raises `InputError` for a URL that names no stream, where no server answers and where `columns` name no column of
    events, `ConfigError` without the extra `queue`.
    """

    def __init__(self, url: str, group: str, log: Refusals, columns: Mapping[str, str]) -> None:
        address, _, self.name = url.rpartition("#")
        if not address or not self.name:
            raise InputError("name the stream behind the address of its server: redis://host:6379/0#STREAM")
        if find_spec("redis") is None:
            raise ConfigError("streams of Redis need the extra `queue`: pip install 'zhiyin[queue]'")
        import redis  # noqa: PLC0415  an extra

        self._failures = (redis.RedisError, OSError)
        self._refused = redis.ResponseError
        self._group = group
        self._ids: list[str] = []
        self._reader = LineReader(self.name, _ByEntry(log, self._ids), columns)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}"
        self._identity = ""
        self._away = False
        self._pause = self._until = 0.0
        self._client = _client(address)
        try:
            self._join()
        except self._failures as error:
            raise InputError(f"the stream {self.name!r} cannot be read: {error}; check the address") from error
        self._occurrences = Occurrences()

    @property
    def read(self) -> int:
        return self._reader.read

    def events(self) -> Events | None:
        """What has come since; None where nothing has, or the server does not answer."""
        entries = self._asked(self._found)
        if not entries:
            return None
        there = {identifier.decode(): fields for identifier, fields in entries if identifier is not None}
        self._ids[:] = there
        lines = [
            Line(row, _text(fields), f"{self._identity}:{identifier}", identifier.partition("-")[0])
            for row, (identifier, fields) in enumerate(there.items(), 1)
            if fields
        ]
        if len(lines) < len(entries):
            LOG.warning("%s: %d entries were gone before they were read", self.name, len(entries) - len(lines))
        return events_of(self._reader.checked(lines), self._occurrences)

    def settled(self) -> None:
        """What was given last is kept, and need not come again; where that cannot be told, it comes and is known."""
        if self._ids:
            self._asked(lambda: self._client.xack(self.name, self._group, *self._ids))

    def close(self) -> None:
        self._occurrences.close()
        self._client.close()

    def _asked(self, question: Callable[[], Answer]) -> Answer | None:
        """None where the server does not answer, which is then left alone for a while."""
        if time.monotonic() < self._until:
            return None
        try:
            if self._away:
                # It may have lost the stream.
                self._join()
            answer = question()
        except self._failures as error:
            if not self._away:
                LOG.error("%s: the queue does not answer, and is waited for: %s", self.name, error)
            self._away, self._pause = True, min(2 * self._pause or PAUSE_S, LONGEST_PAUSE_S)
            self._until = time.monotonic() + self._pause
            return None
        self._away, self._pause = False, 0.0
        return answer

    def _found(self) -> Sequence[Entry]:
        """What this reader was given before and is not done with, else what is new, else what others left."""
        return self._given("0") or self._given(">") or self._abandoned()

    def _given(self, after: str) -> Sequence[Entry]:
        found = self._client.xreadgroup(self._group, self._consumer, {self.name: after}, count=AT_ONCE)
        return found[0][1] if found else []

    def _abandoned(self) -> Sequence[Entry]:
        told = self._client.xautoclaim(self.name, self._group, self._consumer, ABANDONED_MS, count=AT_ONCE)
        found: Sequence[Entry] = told[1]
        return found

    def _join(self) -> None:
        """Makes the group, the stream and what it is known by, where they are not there yet."""
        try:
            self._client.xgroup_create(self.name, self._group, id="0", mkstream=True)
        except self._refused as error:
            if "BUSYGROUP" not in str(error):
                raise
        key = f"{self.name}:zhiyin"
        self._client.set(key, secrets.token_hex(8), nx=True)
        self._identity = self._client.get(key).decode()


def _client(address: str) -> Any:
    """Raises `InputError`, which tells nothing of a password in `address`."""
    import redis  # noqa: PLC0415  an extra
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    parse: Any = redis.connection.parse_url
    told: dict[str, Any] = {"none": None}
    with suppress(ValueError, TypeError):
        told = dict(parse(address))
    if any(name not in OPTIONS and not name.startswith("ssl") for name in told):
        raise InputError("this is no address of a Redis server: give redis://user:password@host:6379/0#STREAM")
    if PASSWORD in os.environ:
        told = {"password": os.environ[PASSWORD], **told}
    kind = told.pop("connection_class", redis.Connection)
    told |= {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(kind, **told))


class _ByEntry:
    """Tells `log` of refused rows with the id of each: `ids` of the rows from 1."""

    def __init__(self, log: Refusals, ids: Sequence[str]) -> None:
        self._log, self._ids = log, ids

    def add(self, refusal: Refusal) -> None:
        self._log.add(replace(refusal, value=f"{self._ids[refusal.row - 1]}: {refusal.value}"))


def _text(fields: Mapping[bytes, bytes]) -> bytes:
    if set(fields) == {WHOLE}:
        return fields[WHOLE].strip() or NO_OBJECT
    try:
        told = {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError:
        return NO_TEXT
    return json.dumps(told).encode()
