"""What a configuration file and the environment set, and how a wrong setting is told."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zhiyin.app.environment import with_environment
from zhiyin.app.serving.exposure import ServingSettings
from zhiyin.app.serving.judged import LanguageModelSettings
from zhiyin.core.errors import ConfigError
from zhiyin.dataset.settings import PreparationSettings

Table = TypeVar("Table", bound=BaseModel)


@dataclass(frozen=True)
class Settings:
    """model: the [model] table as it stands; the others: tables of their name over the defaults."""

    model: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    language_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)


_CHECKED: Mapping[str, type[BaseModel]] = {
    "preparation": PreparationSettings,
    "language_model": LanguageModelSettings,
    "serving": ServingSettings,
}
_TABLES = "[preparation], [model], [language_model] and [serving]"


def read_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in the file at `path`, if any, and over them those in the environment.

    It is TOML, or JSON by its name, which can say that a setting is nothing.

    Raises `ConfigError` for a file that cannot be read, another table, and a setting that is unknown or out of range.
    """
    where = f"{path} and the environment" if path is not None else "the environment"
    found = with_environment(_tables(path) if path is not None else {}, environment)
    unknown = set(found) - {"model", *_CHECKED}
    if unknown:
        raise ConfigError(f"{where}: unknown tables {sorted(unknown)}; there are {_TABLES}")
    checked: dict[str, Any] = {}
    for table, kind in _CHECKED.items():
        checked[table] = _checked(kind, found.get(table, {}), f"{where}: [{table}]")
    return Settings(found.get("model", {}), **checked)


def with_serving(settings: Settings, told: Mapping[str, Any]) -> Settings:
    """With what is `told` in place of that in [serving]. Raises `ConfigError` for what is out of range."""
    serving = _checked(ServingSettings, {**settings.serving.model_dump(), **told}, "[serving]")
    return replace(settings, serving=serving)


def _checked(kind: type[Table], told: Mapping[str, Any], where: str) -> Table:
    try:
        return kind(**told)
    except ValidationError as error:
        raise ConfigError(f"{where} {problems(error)}") from error


def _tables(path: Path) -> dict[str, Any]:
    kind, loads = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        found: Any = loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as {kind} ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds no tables; there are {_TABLES}")
    loose = sorted(name for name, value in found.items() if not isinstance(value, dict))
    if loose:
        raise ConfigError(f"{path}: {', '.join(loose)} stands in no table; there are {_TABLES}")
    return found


def problems(error: ValidationError) -> str:
    """What pydantic found, in one line."""
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
