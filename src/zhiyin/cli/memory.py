"""How a server keeps the memory that its answers are made in."""

import logging

from zhiyin.cli.clibrary import c_function

LOG = logging.getLogger(__name__)

TRIM, MAP = -1, -3
"""Parameters of glibc's `mallopt`: free bytes at the end of the heap that go back, and those from which a block is
mapped by itself.
"""

KEPT_BYTES, MAPPED_BYTES = 1 << 28, 1 << 25


def keep_memory() -> None:
    """What one list needed stays for the next: to ask the system for it again and again costs as much as the list.

    Where the C library is another, nothing changes.
    """
    mallopt = c_function("mallopt")
    if mallopt is None:
        LOG.info("freed memory is handed back: the C library is not glibc")
        return
    mallopt(TRIM, KEPT_BYTES)
    mallopt(MAP, MAPPED_BYTES)
