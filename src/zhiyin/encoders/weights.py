"""Weights that a package brings along as a file of torch's own format."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zhiyin.core.errors import ConfigError


def packaged(package: str, file: str, sha256: str, allowed: Sequence[Any] = ()) -> Any:
    """What `file` of an installed package holds, for the CPU. No code of it runs: torch reads tensors alone.

    sha256: of that file, hex. allowed: further types that may be in it, as of `torch.serialization.safe_globals`.
    Raises `ConfigError` where it is another file.
    """
    import torch  # noqa: PLC0415  what is cached needs no model, and loading this takes seconds

    spec = find_spec(package)
    path = Path(next(iter((spec and spec.submodule_search_locations) or ()), package)) / file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigError(f"{path} is not the file that this version knows: install the pinned version of {package!r}")
    with torch.serialization.safe_globals(list(allowed)):
        return torch.load(path, map_location="cpu", weights_only=True)


def installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)
