"""Models as people name them: a folder, or a name on the Hugging Face hub; of weights safetensors alone."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from zhiyin.core.errors import ConfigError

DOWNLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""No pickles and no code."""

_ARGUMENT = re.compile(r"(?P<place>.+?)(?:@(?P<device>cpu|mps|cuda(?::\d+)?))?")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class ModelFolder:
    """path: where the model lies. device: where it is to run. revision: changes with the model, not with its place."""

    path: Path
    device: str
    revision: str


def model_folder(encoder: str, argument: str) -> ModelFolder:
    """argument: FOLDER or ORGANISATION/MODEL, `@cuda`, `@cuda:1` or `@mps` behind it where it is not the CPU.

    A model of the hub is fetched where its latest revision is not on this machine; a folder reads no network. Raises
    `ConfigError` where there is no such model, or no safetensors in it.
    """
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        raise ConfigError(f"encoder {encoder!r}: {argument!r} is neither a folder nor ORGANISATION/MODEL")
    place, device = found["place"], found["device"] or "cpu"
    folder = Path(place).expanduser()
    if folder.is_dir():
        revision = _digest(folder)
    else:
        folder = _from_hub(place)
        revision = f"{place}/{folder.name}"
    _refuse_pickles(folder)
    return ModelFolder(folder, device, revision)


def _digest(folder: Path) -> str:
    """sha256 (hex) over the files of `folder`, hidden ones left out: wherever it lies, the same model is the same."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        part = path.relative_to(folder)
        if path.is_file() and not any(name.startswith(".") for name in part.parts):
            with path.open("rb") as file:
                digest.update(part.as_posix().encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _from_hub(name: str) -> Path:
    """The folder of the model's latest revision, named by it; without the network, of the latest that is here."""
    if not _HUB_NAME.fullmatch(name):
        raise ConfigError(f"there is no folder {name}: correct the path, or name a model as ORGANISATION/MODEL")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  it is there with the extra alone

    try:
        return Path(snapshot_download(name, allow_patterns=list(DOWNLOADED)))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{name!r} is no folder, and no model of the Hugging Face hub that can be had ({type(error).__name__}); "
            "correct the name, or fetch the model where there is a network and name its folder"
        ) from error


def _refuse_pickles(folder: Path) -> None:
    """Raises `ConfigError` unless all weights are there as safetensors; a pickle beside them is not read."""
    weights = {path.parent for path in folder.rglob("*.safetensors")}
    pickles = {path.parent for path in folder.rglob("pytorch_model*.bin")}
    if not weights or pickles - weights:
        where = min(pickles - weights, default=folder)
        raise ConfigError(
            f"{where}: holds no safetensors, and pickles are not read; "
            "save the model anew with `save_pretrained`, or name another"
        )
