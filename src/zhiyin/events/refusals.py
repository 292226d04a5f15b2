"""Rows that cannot be used: what was wrong, where, and the file they are listed in."""

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from zhiyin.core.errors import InputError

SHOWN = 200
"""Characters of a refused value that are reported."""


@dataclass(frozen=True)
class Refusal:
    """row: the number a spreadsheet shows (a header is row 1). reason: a stable short code."""

    file: str
    row: int
    field: str
    value: str
    reason: str


class Refusals(Protocol):
    """Hears of what is refused."""

    def add(self, refusal: Refusal) -> None: ...


class RefusalLog:
    """Counts refusals by file and reason and writes each to a CSV file, made when the first one comes.

    onward: behind those of before, which are kept.
    """

    def __init__(self, path: Path | None = None, *, onward: bool = False) -> None:
        self.path = path
        self._mode = "a" if onward else "w"
        self.counts: dict[str, Counter[str]] = {}
        self._writer: Any = None
        self._file: Any = None

    def add(self, refusal: Refusal) -> None:
        """Raises `InputError` where the file cannot be written."""
        self.counts.setdefault(refusal.file, Counter())[refusal.reason] += 1
        if self.path is None:
            return
        texts = map(harmless, (refusal.field, refusal.value, refusal.reason))
        with self._errors():
            if self._writer is None:
                begun = self._mode == "a" and self.path.exists() and self.path.stat().st_size > 0
                encoding = "utf-8" if begun else "utf-8-sig"
                self._file = self.path.open(self._mode, encoding=encoding, errors="backslashreplace", newline="")
                self._writer = csv.writer(self._file)
                if not begun:
                    self._writer.writerow([field.name for field in fields(Refusal)])
            self._writer.writerow([harmless(refusal.file), refusal.row, *texts])

    def flush(self) -> None:
        """Raises `InputError` where the file cannot be written."""
        if self._file is not None:
            with self._errors():
                self._file.flush()

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.counts.values())

    @property
    def written(self) -> Path | None:
        """The file, if there was anything to write."""
        return self.path if self._writer is not None else None

    @contextmanager
    def open(self) -> Iterator["RefusalLog"]:
        try:
            yield self
        finally:
            if self._file is not None:
                with self._errors():
                    self._file.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write the file of refused rows {self.path}: {error.strerror}") from error


def harmless(cell: str) -> str:
    """The cell as a spreadsheet will show it rather than run it (OWASP, CSV injection)."""
    return "'" + cell if cell.startswith(tuple("=+-@＝＋－＠\t\r\n")) else cell
