"""Entries of a Redis stream, each an event, as checked `Events`."""

import json
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, TypeAlias

from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.events import Events
from zhiyin.events.identity import Occurrences
from zhiyin.events.lines import Line, LineReader
from zhiyin.events.reading import events_of
from zhiyin.events.refusals import Refusal, Refusals

LOG = logging.getLogger(__name__)

SCHEMES = ("redis://", "rediss://", "unix://")
GROUP = "zhiyin"
AT_ONCE = 1_000
ABANDONED_MS = 60_000
"""Entries that another reader has had for so long without being done with them are taken over."""
TIMEOUT_S = 10.0
WHOLE = b"json"
"""The field of an entry that holds all of an event."""
NO_TEXT = b"\xff"

Entry: TypeAlias = tuple[bytes, Mapping[bytes, bytes] | None]
"""Its id, and its fields; None of one that was taken out of the stream."""


class FollowedStream:
    """A stream of Redis that the group `GROUP` reads: what comes is given as batches, and refused entries go to `log`.

    url: of the server, and behind `#` the name of the stream, which need not be there yet. columns: key of an entry ->
    canonical name. An entry has the fields of an event, or one field `json` that holds them all. One that tells no id
    is known by its own, and one that tells no time by the one at which it came. Entries are given again, to this reader
    or to another one of the group, until they are `settled`. To be closed.

    Raises `InputError` for a URL that names no stream, where no server answers and where `columns` name no column of
    events, `ConfigError` without the extra `queue`.
    """

    def __init__(self, url: str, log: Refusals, columns: Mapping[str, str]) -> None:
        address, _, self.name = url.partition("#")
        if not self.name:
            raise InputError("name the stream behind the address of its server: redis://host:6379/0#STREAM")
        if find_spec("redis") is None:
            raise ConfigError("streams of Redis need the extra `queue`: pip install 'zhiyin[queue]'")
        import redis  # noqa: PLC0415  an extra

        self._failures = (redis.RedisError, OSError)
        self._refused = redis.ResponseError
        self._ids: list[str] = []
        self._reader = LineReader(self.name, _ByEntry(log, self._ids), columns)
        self._consumer = socket.gethostname()
        try:
            self._client: Any = redis.Redis.from_url(address, socket_timeout=TIMEOUT_S)
            self._join()
        except (ValueError, *self._failures) as error:
            # What was given may hold a password.
            raise InputError(f"the stream {self.name!r} cannot be read: {error}; check the address") from error
        self._occurrences = Occurrences()

    @property
    def read(self) -> int:
        return self._reader.read

    def events(self) -> Events | None:
        """What has come since; None where nothing has, or the server does not answer."""
        try:
            entries = self._given("0") or self._given(">") or self._abandoned()
        except self._failures as error:
            LOG.error("the queue does not answer: %s", error)
            self._again()
            return None
        if not entries:
            return None
        self._ids[:] = [identifier.decode() for identifier, _ in entries]
        lines = [
            Line(row, _text(fields), f"{self.name}:{identifier}", identifier.partition("-")[0])
            for row, (identifier, (_, fields)) in enumerate(zip(self._ids, entries, strict=True), 1)
            if fields is not None
        ]
        return events_of(self._reader.checked(lines), self._occurrences)

    def settled(self) -> None:
        """What was given last is kept, and need not be given again."""
        try:
            self._client.xack(self.name, GROUP, *self._ids)
        except self._failures as error:
            # They come once more, and are known by then.
            LOG.error("the queue does not answer: %s", error)

    def close(self) -> None:
        self._occurrences.close()
        self._client.close()

    def _given(self, after: str) -> Sequence[Entry]:
        """after: "0" for what this reader was given before and is not done with, ">" for what is new."""
        found = self._client.xreadgroup(GROUP, self._consumer, {self.name: after}, count=AT_ONCE)
        return found[0][1] if found else []

    def _abandoned(self) -> Sequence[Entry]:
        _, entries, _ = self._client.xautoclaim(self.name, GROUP, self._consumer, ABANDONED_MS, count=AT_ONCE)
        found: Sequence[Entry] = entries
        return found

    def _join(self) -> None:
        """Makes the group, and the stream, where they are not there yet."""
        try:
            self._client.xgroup_create(self.name, GROUP, id="0", mkstream=True)
        except self._refused as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _again(self) -> None:
        """A server that lost the stream has to be told of the group."""
        try:
            self._join()
        except self._failures as error:
            LOG.debug("not yet: %s", error)


class _ByEntry:
    """Tells `log` of refused rows with the id of each: `ids` of the rows from 1."""

    def __init__(self, log: Refusals, ids: Sequence[str]) -> None:
        self._log, self._ids = log, ids

    def add(self, refusal: Refusal) -> None:
        self._log.add(replace(refusal, value=f"{self._ids[refusal.row - 1]}: {refusal.value}"))


def _text(fields: Mapping[bytes, bytes]) -> bytes:
    if set(fields) == {WHOLE}:
        return fields[WHOLE]
    try:
        told = {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError:
        return NO_TEXT
    return json.dumps(told).encode()
