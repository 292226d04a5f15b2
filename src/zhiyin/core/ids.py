"""Ids that are given to what came without one."""

import os
import time


def fresh_id() -> str:
    """32 hexadecimal digits: 12 of the time in milliseconds, so that an index of ids grows at its end and not all over,
    and 20 that are random.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
