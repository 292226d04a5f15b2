"""Ids with slashes in paths."""

from collections.abc import Iterator
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

_SLASH = "\x1f"
"""Stands for one within an id, where no control character may be."""


class SegmentRoute(APIRoute):
    """A route that tells the slashes of its pattern from those of an id, which are written %2F in the path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw = scope.get("raw_path", b"")
        # Every request passes here on its way to routes behind, and hardly any has something to look for.
        if b"%" not in raw or b"%2F" not in raw.upper() or b"%1F" in raw.upper():
            return super().matches(scope)
        path = "/".join(_segments(raw.decode("ascii")))
        match, child = super().matches({**scope, "path": path})
        named = child.get("path_params", {})
        return match, {
            **child,
            "path_params": {
                name: value.replace(_SLASH, "/") if isinstance(value, str) else value for name, value in named.items()
            },
        }


def _segments(path: str) -> Iterator[str]:
    return (unquote(segment).replace("/", _SLASH) for segment in path.split("/"))
