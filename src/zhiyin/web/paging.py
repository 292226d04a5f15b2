"""Where a list goes on: a cursor holds what was shown, so that no later page shows it, whatever happens between."""

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from zhiyin.core.errors import NotFoundError

MAX_SHOWN = 500
"""Items after which a list ends: who has seen so many looks for something else."""
MAX_CURSOR = 16_000
WINDOW_BITS, MEMORY_LEVEL = 12, 4
"""A few ids need no more; to make the usual room ready takes longer than to pack them."""
_MAX_BYTES = 1 << 20


def cursor_of(shown: Sequence[str]) -> str | None:
    """What leads on behind the items `shown`; None behind the last page."""
    if len(shown) >= MAX_SHOWN:
        return None
    packing = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    packed = packing.compress(json.dumps(list(shown), ensure_ascii=False).encode()) + packing.flush()
    written = urlsafe_b64encode(packed).decode().rstrip("=")
    return written if len(written) <= MAX_CURSOR else None


def shown_before(cursor: str) -> list[str]:
    """The items that `cursor` leads on from. Raises `NotFoundError` for one that leads nowhere."""
    nowhere = "this cursor leads nowhere: ask for the list from its beginning"
    unpacking = zlib.decompressobj()
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        shown = json.loads(unpacking.decompress(packed, _MAX_BYTES))
        told = isinstance(shown, list) and len(shown) <= MAX_SHOWN and all(isinstance(each, str) for each in shown)
        if not told or not unpacking.eof:
            raise NotFoundError(nowhere)
        # Halves of surrogate pairs are in no id, and could not be told again.
        "".join(shown).encode()
    except (ValueError, zlib.error, RecursionError) as error:
        raise NotFoundError(nowhere) from error
    return list(shown)
