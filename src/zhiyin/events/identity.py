"""Ids for events that come without one: the same file gives the same ids again."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from types import TracebackType
from typing import Self

from zhiyin.core.errors import StoreError


class Occurrences:
    """Ids from the content of a row and how many like it the file has had so far.

    The counts are kept in a temporary file on disk, so that memory does not grow with the file of events.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="zhiyin-")
        self._counts = sqlite3.connect(f"{self._folder.name}/counts.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "PRAGMA cache_size=-65536",
            "CREATE TABLE seen (key INTEGER PRIMARY KEY, times INTEGER NOT NULL, batch INTEGER NOT NULL)",
        ):
            self._counts.execute(statement)
        self._batch = 0

    def ids(self, contents: Sequence[str]) -> list[str]:
        """One id a row: 128 bits of the SHA-256 of its content, and its number among the rows of that content.

        Raises `StoreError` where the temporary folder has no room for the counts.
        """
        digests = [sha256(content.encode()).digest()[:16] for content in contents]
        keys = [int.from_bytes(digest[:8], "big", signed=True) for digest in digests]
        here = Counter(keys)
        try:
            before = self._before(here)
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self._folder.name}: {error}; free space there, or set TMPDIR to a folder that has some"
            ) from error
        ids = []
        for digest, key in zip(digests, keys, strict=True):
            times = before.get(key, 0) + 1
            if here[key] > 1 or times > 1:
                before[key] = times
            ids.append(f"{digest.hex()}-{times}")
        return ids

    def _before(self, here: Counter[int]) -> dict[int, int]:
        self._batch += 1
        counts = self._counts
        counts.execute("BEGIN")
        rows = sorted((key, times, self._batch) for key, times in here.items())
        new = counts.executemany("INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows).rowcount
        before: dict[int, int] = {}
        if new < len(here):
            for key in here:
                known = counts.execute(
                    "SELECT times FROM seen WHERE key = ? AND batch < ?", (key, self._batch)
                ).fetchone()
                if known is not None:
                    before[key] = known[0]
            counts.executemany(
                "UPDATE seen SET times = times + ?, batch = ? WHERE key = ?",
                [(here[key], self._batch, key) for key in before],
            )
        counts.execute("COMMIT")
        return before

    def close(self) -> None:
        self._counts.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
