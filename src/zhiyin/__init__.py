"""Zhiyin (知音): recommendations from a table of events.

Importing the package loads neither torch nor a data-frame library; the use cases arrive on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhiyin.app.api import Recommender, evaluate, ingest, load, recommend, train, tune, update

__version__ = "0.1.0"
__all__ = ["Recommender", "__version__", "evaluate", "ingest", "load", "recommend", "train", "tune", "update"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("zhiyin.app.api"), name)
    raise AttributeError(f"module 'zhiyin' has no attribute {name!r}")
