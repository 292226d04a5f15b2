"""The state of an interrupted training: tensors and JSON, replaced in one move."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FILE = "checkpoint.safetensors"


def save(folder: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Writes beside and renames, so that a kill leaves the earlier checkpoint whole."""
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / f"{FILE}.building"
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, building, {"state": json.dumps(state)})
    building.replace(folder / FILE)


def load(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """What `save` wrote last, None where there is nothing."""
    path = folder / FILE
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, json.loads(file.metadata()["state"])  # noqa: SIM118
