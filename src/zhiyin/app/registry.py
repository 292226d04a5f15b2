"""Names to implementations, by entry points; the built-ins enter by the same door as plug-ins."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from inspect import signature
from typing import Any, cast

from pydantic import ValidationError

from zhiyin.app.settings import problems
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Encoder, Model

MODELS, ENCODERS = "zhiyin.models", "zhiyin.encoders"


@cache
def names(group: str) -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def make_model(name: str, settings: Mapping[str, Any] | None = None) -> Model:
    """A new model with `settings` over its defaults; `NAME:LABEL` is one of several of that name.

    Raises `ConfigError` for an unknown name or setting.
    """
    cls = model_class(name)
    try:
        config = cls.Config(**(settings or {}))
    except ValidationError as error:
        raise ConfigError(f"settings of model {name!r}: {problems(error)}") from error
    if "parts" not in cls.Config.model_fields:
        return cast(Model, cls(config))
    return cast(Model, cls(config, {part: _part(part, given, config) for part, given in config.parts.items()}))


def _part(label: str, given: Mapping[str, Any], whole: Any) -> Model:
    """A part `NAME` or `NAME:LABEL` of a composite model, reading the encoders of the `whole` unless `given` others."""
    reads = whole.encoders and reads_encoders(label)
    return make_model(label, {"encoders": whole.encoders, **given} if reads else given)


def reads_encoders(name: str) -> bool:
    """Whether it can be set whose vectors a model reads."""
    return "encoders" in model_class(name).Config.model_fields


def stoppable(name: str) -> bool:
    """Whether a model is trained in epochs, as many as there is time for, and goes on from `Run.checkpoints`."""
    return "epochs" in model_class(name).Config.model_fields


def model_class(name: str) -> Any:
    return _load(MODELS, name.partition(":")[0])


def make_encoder(name: str) -> Encoder:
    """The encoder called `NAME` or `NAME:ARGUMENT`, as in `sentence-transformers:FOLDER`.

    Raises `ConfigError` for an unknown name, an argument too many or too few, and what the encoder itself refuses.
    """
    kind, colon, argument = name.partition(":")
    cls = _load(ENCODERS, kind)
    arguments = (argument,) if colon else ()
    try:
        signature(cls).bind(*arguments)
    except TypeError as error:
        problem = f"takes no argument, write {kind}" if colon else f"needs an argument, write {kind}:ARGUMENT"
        raise ConfigError(f"encoder {name!r} {problem}") from error
    return cast(Encoder, cls(*arguments))


def _load(group: str, name: str) -> Any:
    for point in entry_points(group=group, name=name):
        return point.load()
    kind = group.rpartition(".")[2]
    raise ConfigError(f"no {name!r} among the {kind}; there are: {', '.join(names(group))}")
