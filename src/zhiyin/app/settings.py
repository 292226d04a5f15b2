"""What a configuration file sets, and how a wrong setting is told."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zhiyin.core.errors import ConfigError
from zhiyin.dataset.settings import PreparationSettings


@dataclass(frozen=True)
class Settings:
    """model: the [model] table as it stands; preparation: the [preparation] table over the defaults."""

    model: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings = field(default_factory=PreparationSettings)


def read_settings(path: Path | None) -> Settings:
    """The settings in the TOML file at `path`, the defaults without one.

    Raises `ConfigError` for a file that cannot be read, another table, and a setting that is unknown or out of range.
    """
    if path is None:
        return Settings()
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        unknown = set(found) - {"model", "preparation"}
        if unknown:
            raise ConfigError(f"{path}: unknown tables {sorted(unknown)}; there are [preparation] and [model]")
        preparation = PreparationSettings(**found.get("preparation", {}))
    except ValidationError as error:
        raise ConfigError(f"{path}: [preparation] {problems(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return Settings(found.get("model", {}), preparation)


def problems(error: ValidationError) -> str:
    """What pydantic found, in one line."""
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
