"""Weights that a package brings along as a file of torch's own format."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zhiyin.core.errors import ConfigError
from zhiyin.encoders.torch_files import tensors


def packaged(package: str, file: str, sha256: str) -> dict[str, Any]:
    """The tensors (torch) in `file` of an installed package, by name.

    sha256: of that file, hex. Raises `ConfigError` where it is another file.
    """
    import torch  # noqa: PLC0415  what is cached needs no model, and loading this takes seconds

    spec = find_spec(package)
    path = Path(next(iter((spec and spec.submodule_search_locations) or ()), package)) / file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigError(f"{path} is not the file that this version knows: install the pinned version of {package!r}")
    return {name: torch.from_numpy(values) for name, values in tensors(path).items()}


def installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)
