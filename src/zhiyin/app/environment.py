"""Settings from the environment, over those of a file."""

import tomllib
from collections.abc import Mapping
from typing import Any

from zhiyin.core.errors import ConfigError

PREFIX = "ZHIYIN_"
STORE = "ZHIYIN_STORE"
"""Names the store where no flag does: what is on a command line, a password too, others on the machine can read."""
DEVICE = "ZHIYIN_DEVICE"
"""Names where networks are trained, where no flag does."""


def with_environment(tables: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """`tables` with what variables set in them: `ZHIYIN_PREPARATION__HISTORY_LIMIT=500` is `history_limit` there.

    Two underscores lead from a table into it. A value is what TOML would read (`7`, `true`, `["bots"]`), else text.
    Store and device are no settings. Raises `ConfigError` for any other variable of that prefix which names none.
    """
    merged = dict(tables)
    for variable in sorted(name for name in environment if name.startswith(PREFIX) and name not in (STORE, DEVICE)):
        *path, setting = variable.removeprefix(PREFIX).lower().split("__")
        if not (path and all(path) and setting):
            raise ConfigError(f"{variable}: names no setting; write {PREFIX}TABLE__SETTING or unset it")
        table = merged
        for name in path:
            inner = table.get(name, {})
            if not isinstance(inner, Mapping):
                raise ConfigError(f"{variable}: {name} is one value and holds no settings; unset the variable")
            table[name] = table = dict(inner)
        table[setting] = _value(environment[variable])
    return merged


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
