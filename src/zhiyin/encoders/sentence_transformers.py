"""Any text model of sentence-transformers or Hugging Face (Reimers and Gurevych, "Sentence-BERT", 2019)."""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.folders import ModelFolder, model_folder
from zhiyin.encoders.texts import unit_vectors

BATCH = 32


class SentenceTransformers:
    """Vectors of the model in a folder, or of that name on the Hugging Face hub, from safetensors alone.

    dim: as the model says. Of a long text the model reads as many tokens as it takes.
    """

    name: ClassVar[str] = "sentence-transformers"
    modalities = frozenset({"text"})

    def __init__(self, argument: str) -> None:
        """argument: as `model_folder` reads it.

        Raises `ConfigError` where there is no such model, no safetensors in it, or the extra `text` is not installed.
        """
        if find_spec("sentence_transformers") is None:
            raise ConfigError(f"encoder {self.name!r} needs the extra `text`: pip install 'zhiyin[text]'")
        self.folder = model_folder(self.name, argument)
        self.fingerprint = f"{self.name}/{self.folder.revision}"

    @cached_property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @cached_property
    def _model(self) -> Any:
        return loaded(self.folder)

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        vectors: FloatMatrix = self._model.encode(
            texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors


def loaded(folder: ModelFolder) -> Any:
    """The model in `folder`. Raises `ConfigError` where it cannot be loaded."""
    import torch  # noqa: PLC0415  what is cached needs no model, and loading this takes seconds
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            str(folder.path),
            device=folder.device,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AssertionError) as error:
        raise ConfigError(
            f"{folder.path}: sentence-transformers cannot load it on {folder.device} ({error}); "
            "save it anew with SentenceTransformer.save_pretrained, or name another model or device"
        ) from error
