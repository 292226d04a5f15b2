"""Ids that are given to what came without one."""

import os
import random
import time

_RANDOM = random.Random()  # noqa: S311
"""Ids are no secrets; to ask the system for each of their digits would hand the interpreter to another thread."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def fresh_id() -> str:
    """32 hexadecimal digits: 12 of the time in milliseconds, so that an index of ids grows at its end and not all over,
    and 20 that are random.
    """
    return f"{time.time_ns() // 1_000_000:012x}{_RANDOM.getrandbits(80):020x}"
