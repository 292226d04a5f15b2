"""A client that takes little of its core, so that what is measured is the server."""

import asyncio
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

KEPT_SECONDS = 4.0
"""How long a connection may rest and be used again; a server closes those that rest longer, without asking."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")


@dataclass(frozen=True)
class Told:
    """An answer. head: its status line and headers, in lower case."""

    status: int
    head: bytes
    body: bytes


class Wire:
    """Asks a server at `base`, each question on a connection of its own, which stays for the next."""

    def __init__(self, base: str) -> None:
        self._place = urlsplit(base)
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, address: str) -> Told:
        """Raises `ConnectionError` or `asyncio.IncompleteReadError` where the connection breaks."""
        reader, writer = self._kept() or await asyncio.open_connection(self._place.hostname, self._place.port)
        writer.write(f"GET {address} HTTP/1.1\r\nHost: {self._place.netloc}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if b"\r\nconnection: close\r\n" in head:
            writer.close()
        else:
            self._idle.append((time.monotonic(), reader, writer))
        return Told(int(head.split(b" ", 2)[1]), head, body)

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the server has not closed meanwhile, the one that rested least."""
        while self._idle:
            since, reader, writer = self._idle.pop()
            if not reader.at_eof() and time.monotonic() < since + KEPT_SECONDS:
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        for *_, writer in self._idle:
            writer.close()
