"""Lines as they are appended to a file, which may be put aside and begun anew at any moment."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zhiyin.core.errors import InputError
from zhiyin.events.sources import BLOCK_BYTES, LINE_BYTES

GRACE_S = 5.0
HEAD_BYTES = 1 << 10
"""The beginning of a file, by which one that was emptied and written anew is told."""


@dataclass(frozen=True)
class Lines:
    """Consecutive lines without their ends. first: the number of the first one in its file, from 1."""

    lines: list[bytes]
    first: int


class Tail:
    """path: of a file that need not be there yet. To be closed.

    What stands behind the last line feed waits for its end, unless the file was put aside. A file that was is read on
    until nothing has come for `GRACE_S`: who writes goes over to the new one a moment later. A line of more than
    `LINE_BYTES` is cut to that, so that one without an end does not fill the memory. clock: seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._head = b""
        self._aside: float | None = None
        self.generation = 0
        """How many files have been begun under this path."""
        self._file: BinaryIO | None = None
        self._rest = b""
        self._skipping = False
        self._next = 1

    def read(self) -> Lines | None:
        """What has come; None where nothing has. Raises `InputError` for a file that cannot be read."""
        try:
            file = self._file or self._opened()
            return None if file is None else self._read(file)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); check the path") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO | None:
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError:
            return None
        self._anew()
        return self._file

    def _read(self, file: BinaryIO) -> Lines | None:
        if self._emptied(file):
            file.seek(0)
            self._anew()
        while data := file.read(BLOCK_BYTES):
            self._aside = None
            if len(self._head) < HEAD_BYTES:
                self._head = os.pread(file.fileno(), min(HEAD_BYTES, file.tell()), 0)
            if (lines := self._complete(data)) is not None:
                return lines
        if not self._put_aside(file):
            return None
        if self._aside is None:
            self._aside = self._clock()
        return self._last() if self._clock() - self._aside >= GRACE_S else None

    def _emptied(self, file: BinaryIO) -> bool:
        """Whether it was begun anew where it stands, though it may be as long as before by now."""
        short = os.fstat(file.fileno()).st_size < file.tell()
        return short or os.pread(file.fileno(), len(self._head), 0) != self._head

    def _put_aside(self, file: BinaryIO) -> bool:
        """Whether there is another file under the path by now."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return not os.path.samestat(there, os.fstat(file.fileno()))

    def _complete(self, data: bytes) -> Lines | None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._skipping and lines:
            # The end of a line whose beginning was told already.
            lines.pop(0)
            self._skipping = False
        if len(self._rest) > LINE_BYTES:
            if not self._skipping:
                lines.append(self._rest[:LINE_BYTES])
                self._skipping = True
            self._rest = b""
        return self._numbered(lines)

    def _last(self) -> Lines | None:
        rest, skipping = self._rest, self._skipping
        found = self._numbered([rest] if rest and not skipping else [])
        self.close()
        return found

    def _numbered(self, lines: list[bytes]) -> Lines | None:
        if not lines:
            return None
        found = Lines(lines, self._next)
        self._next += len(lines)
        return found

    def _anew(self) -> None:
        self.generation += 1
        self._rest, self._skipping, self._next = b"", False, 1
        self._head, self._aside = b"", None
