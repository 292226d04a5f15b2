"""Any text model of sentence-transformers or Hugging Face (Reimers and Gurevych, "Sentence-BERT", 2019)."""

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.texts import unit_vectors

BATCH = 32

DOWNLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""No pickles and no code."""

_ARGUMENT = re.compile(r"(?P<place>.+?)(?:@(?P<device>cpu|mps|cuda(?::\d+)?))?")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class SentenceTransformers:
    """Vectors of the model in a folder, or of that name on the Hugging Face hub, from safetensors alone.

    dim: as the model says. Of a long text the model reads as many tokens as it takes.
    """

    name: ClassVar[str] = "sentence-transformers"
    modalities = frozenset({"text"})

    def __init__(self, argument: str) -> None:
        """argument: FOLDER or ORGANISATION/MODEL, `@cuda`, `@cuda:1` or `@mps` behind it where it is not the CPU.

        A model of the hub is fetched where its latest revision is not on this machine, which is asked once a start; a
        folder reads no network. Raises `ConfigError` where there is no such model, no safetensors in it, or the extra
        `text` is not installed.
        """
        if find_spec("sentence_transformers") is None:
            raise ConfigError(f"encoder {self.name!r} needs the extra `text`: pip install 'zhiyin[text]'")
        found = _ARGUMENT.fullmatch(argument)
        if found is None:
            raise ConfigError(f"encoder {self.name!r}: {argument!r} is neither a folder nor ORGANISATION/MODEL")
        place, self._device = found["place"], found["device"] or "cpu"
        self._folder = Path(place).expanduser()
        if self._folder.is_dir():
            revision = _digest(self._folder)
        else:
            self._folder = _from_hub(place)
            revision = f"{place}/{self._folder.name}"
        _refuse_pickles(self._folder)
        self.fingerprint = f"{self.name}/{revision}"

    @cached_property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @cached_property
    def _model(self) -> Any:
        import torch  # noqa: PLC0415  what is cached needs no model, and loading this takes seconds
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            return SentenceTransformer(
                str(self._folder),
                device=self._device,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise ConfigError(
                f"{self._folder}: sentence-transformers cannot load it on {self._device} ({error}); "
                "save it anew with SentenceTransformer.save_pretrained, or name another model or device"
            ) from error

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        vectors: FloatMatrix = self._model.encode(
            texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors


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
            "save the model with SentenceTransformer.save_pretrained, or name another"
        )
