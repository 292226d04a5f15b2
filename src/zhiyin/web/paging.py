"""Where a list goes on: a cursor holds what was shown, so that no later page shows it, whatever happens between."""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import orjson

from zhiyin.core.errors import NotFoundError

MAX_SHOWN = 500
"""Items after which a list ends: who has seen so many looks for something else."""
MAX_CURSOR = 16_000
PACKED_BYTES = 512
"""From which on it pays to pack them: the room that packing takes costs more than a few ids."""
_MAX_BYTES = 1 << 20


def cursor_of(shown: Sequence[str]) -> str | None:
    """What leads on behind the items `shown`; None behind the last page."""
    if len(shown) >= MAX_SHOWN:
        return None
    told = orjson.dumps(list(shown))
    written = urlsafe_b64encode(told if len(told) < PACKED_BYTES else zlib.compress(told, 9)).decode().rstrip("=")
    return written if len(written) <= MAX_CURSOR else None


def shown_before(cursor: str) -> list[str]:
    """The items that `cursor` leads on from. Raises `NotFoundError` for one that leads nowhere."""
    nowhere = "this cursor leads nowhere: ask for the list from its beginning"
    try:
        told = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        shown = orjson.loads(told if told.startswith(b"[") else _unpacked(told))
    except (ValueError, zlib.error) as error:
        raise NotFoundError(nowhere) from error
    if not isinstance(shown, list) or len(shown) > MAX_SHOWN or not all(isinstance(each, str) for each in shown):
        raise NotFoundError(nowhere)
    return shown


def _unpacked(packed: bytes) -> bytes:
    """Raises `ValueError` where it goes on behind `_MAX_BYTES`, `zlib.error` where it was never packed."""
    unpacking = zlib.decompressobj()
    told = unpacking.decompress(packed, _MAX_BYTES)
    if not unpacking.eof:
        raise ValueError("no end")
    return told
