"""Bytes from files and standard input: decompressed, decoded, cut into lines; never the whole file at once."""

import codecs
import gzip
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from zhiyin.core.errors import InputError

BLOCK_BYTES = 1 << 21
LINE_BYTES = 1 << 22
"""A longer line is refused, so that a file without line ends does not fill the memory."""

_HEAD = 1 << 16
_LATIN = re.compile(rb"[^\n]*::|([^|\n]*\|){5}([01]\|){18}[01]\s")


@dataclass(frozen=True)
class Block:
    """Consecutive lines without their ends. broken: index of a line that cannot be read -> reason code."""

    lines: list[str]
    broken: Mapping[int, str] = field(default_factory=dict)


class ByteStream:
    """Decompressed bytes of one source with a look at its beginning. plain_path: the file, if it holds just these."""

    def __init__(self, raw: Any, name: str, plain_path: Path | None = None) -> None:
        self.name = name
        self.plain_path = plain_path
        self._raw = raw
        self.head = self.read_raw(_HEAD)
        self._pending = self.head

    def read_raw(self, size: int) -> bytes:
        try:
            return cast(bytes, self._raw.read(size))
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise InputError(f"{self.name}: cannot be read to its end ({error}); the file may be cut off") from error

    def read(self, size: int) -> bytes:
        pending, self._pending = self._pending, b""
        return pending or self.read_raw(size)


def check_there(sources: Iterable[str | Path | None]) -> None:
    """Before anything is read of any of them. Raises `InputError` for one that is missing."""
    for source in sources:
        if source is not None and str(source) != "-" and not Path(source).exists():
            raise InputError(f"{source_name(source)}: cannot be opened (there is no such file); check the path")


@contextmanager
def open_bytes(source: str | Path) -> Iterator[ByteStream]:
    """The bytes of `source` ("-" is standard input); .gz and .zst are told by their first bytes.

    Raises `InputError` where the file is missing, unreadable or damaged.
    """
    name = source_name(source)
    try:
        raw: Any = sys.stdin.buffer if str(source) == "-" else Path(source).open("rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{name}: cannot be opened ({error.strerror}); check the path") from error
    try:
        magic = raw.peek(4)[:4]
        opened: Any = raw
        if magic[:2] == b"\x1f\x8b":
            opened = gzip.GzipFile(fileobj=raw)
        elif magic == b"\x28\xb5\x2f\xfd":
            opened = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
        plain = opened is raw and str(source) != "-" and Path(source).is_file()
        yield ByteStream(opened, name, Path(source) if plain else None)
    finally:
        if raw is not sys.stdin.buffer:
            raw.close()


@contextmanager
def as_file(stream: ByteStream) -> Iterator[Path]:
    """A file with the bytes of `stream`, for formats that one reading from front to back is not enough for.

    Raises `InputError` where the temporary folder has no room for it.
    """
    if stream.plain_path is not None:
        yield stream.plain_path
        return
    with ExitStack() as stack:
        try:
            copy = stack.enter_context(tempfile.NamedTemporaryFile())
            shutil.copyfileobj(cast(IO[bytes], stream), copy, BLOCK_BYTES)
            copy.flush()
        except OSError as error:
            raise InputError(
                f"{stream.name}: cannot be unpacked in {tempfile.gettempdir()} ({error.strerror}); free space there, or"
                " set TMPDIR to a folder that has some"
            ) from error
        yield Path(copy.name)


def source_name(source: str | Path) -> str:
    """What to call `source`; bytes of a path that are no UTF-8 are written out."""
    return "standard input" if str(source) == "-" else os.fsencode(source).decode("utf-8", "backslashreplace")


def blocks(stream: ByteStream) -> Iterator[Block]:
    """Lines as text. UTF-8 and UTF-16 are told by their marks or zero bytes, GB18030 by not being UTF-8.

    A line that is not valid in the file's encoding is broken ("bad-encoding"), as is one with a zero character.
    """
    encoding = _Encoding()
    for data, broken in _byte_lines(stream):
        yield encoding.decode(data, broken)


class _Encoding:
    """Decides at the first bytes beyond ASCII: a headerless file of MovieLens is Latin-1 where it is not UTF-8."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._latin: bool | None = None

    def decode(self, data: bytes, broken: dict[int, str]) -> Block:
        if self._latin is None:
            self._latin = _LATIN.match(data) is not None
        if self.name is None and not data.isascii():
            self.name = self._guess(data)
        name = self.name or "utf-8"
        if b"\0" not in data:
            try:
                return Block(_lines(data.decode(name)), broken)
            except UnicodeDecodeError:
                pass
        lines = []
        for index, line in enumerate(_byte_split(data)):
            try:
                lines.append(line.decode(name))
                if "\0" in lines[-1]:
                    broken.setdefault(index, "bad-encoding")
            except UnicodeDecodeError:
                lines.append(line.decode(name, "replace"))
                broken.setdefault(index, "bad-encoding")
        return Block(lines, broken)

    def _guess(self, data: bytes) -> str:
        lines = [line for line in _byte_split(data) if not line.isascii()]
        failed = {name: sum(not _decodes(line, name) for line in lines) for name in ("utf-8", "gb18030")}
        # A few broken lines do not make a UTF-8 file one of GB18030, in which most of UTF-8 reads as nonsense.
        if failed["utf-8"] * 2 <= len(lines):
            return "utf-8"
        return "latin-1" if self._latin else "gb18030"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _byte_lines(stream: ByteStream) -> Iterator[tuple[bytes, dict[int, str]]]:
    """Whole lines of about `BLOCK_BYTES` together, ending in a line end (the last one perhaps not)."""
    read = _utf8(stream)
    rest: list[bytes] = []
    size = 0
    while data := read():
        size += len(data)
        if size > LINE_BYTES and b"\n" not in data:
            yield b"\n", {0: "field-too-large"}
            rest, size = _skip_line(read)
            continue
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest.append(data)
            continue
        rest.append(data[:cut])
        yield b"".join(rest), {}
        rest = [data[cut:]]
        size = len(rest[0])
    if last := b"".join(rest):
        yield last, {}


def _skip_line(read: Any) -> tuple[list[bytes], int]:
    while data := read():
        cut = data.find(b"\n") + 1
        if cut:
            return [data[cut:]], len(data) - cut
    return [], 0


def _utf8(stream: ByteStream) -> Any:
    """A function that gives the next bytes, those of UTF-16 as UTF-8 with an invalid byte for each fault."""
    head = stream.head
    name = None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif len(head) >= 4 and (zeros := head[:1024].count(0)) * 3 >= len(head[:1024]):
        name = "utf-16-le" if head[1:1024:2].count(0) * 2 > zeros else "utf-16-be"
    if name is None:
        first = iter([True])

        def plain() -> bytes:
            data = stream.read(BLOCK_BYTES)
            return data.removeprefix(codecs.BOM_UTF8) if next(first, False) else data

        return plain
    decoder = codecs.getincrementaldecoder(name)("replace")

    def transcoded() -> bytes:
        while data := stream.read(BLOCK_BYTES):
            if text := decoder.decode(data):
                return text.encode("utf-8", "replace").replace(b"\xef\xbf\xbd", b"\xff")
        return b""

    return transcoded


def _byte_split(data: bytes) -> list[bytes]:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")


def _lines(text: str) -> list[str]:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n")
