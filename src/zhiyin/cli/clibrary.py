"""What the C library of the system has."""

import ctypes
from typing import Any


def c_function(name: str) -> Any | None:
    """None where there is none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
