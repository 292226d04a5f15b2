"""JSON that any reader takes."""

import json
import math
from typing import Any


def strict_json(value: Any, indent: int | None = None) -> str:
    """`value` by RFC 8259, which knows no NaN and no infinity: a figure that is undefined is null."""
    return json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
