"""Any vision model of Hugging Face: CLIP, SigLIP, DINO, ViT, ConvNeXT and others that transformers knows."""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.folders import model_folder
from zhiyin.encoders.media import FRAMES, pictures
from zhiyin.encoders.pieces import Pieces, unit_vectors


class Vision:
    """Vectors of the model in a folder, or of that name on the Hugging Face hub, from safetensors alone.

    Of a model of pictures and texts its projected picture; otherwise the pooled output, or, where the weights have no
    pooler, the mean over places. Of an animation or a video the mean over its frames.
    """

    name: ClassVar[str] = "vision"
    modalities = frozenset({"image"})

    def __init__(self, argument: str) -> None:
        """argument: as `model_folder` reads it.

        Raises `ConfigError` where there is no such model, no safetensors in it, or an extra is not installed.
        """
        if not all(find_spec(package) for package in ("transformers", "PIL", "av")):
            raise ConfigError(f"encoder {self.name!r} needs two extras: pip install 'zhiyin[image,text]'")
        self._folder = model_folder(self.name, argument)
        self.fingerprint = f"{self.name}/{self._folder.revision}/{FRAMES}"

    @cached_property
    def dim(self) -> int:
        from PIL import Image  # noqa: PLC0415

        try:
            return len(self._read(self._prepared([Image.new("RGB", (64, 64))]))[0])
        except (AttributeError, TypeError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigError(f"{self._folder.path}: is no model of pictures ({error}); name another") from error

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor  # noqa: PLC0415

        try:
            # Another backend computes slightly other numbers, and would be chosen by what else is installed.
            return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                self._folder.path, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(
                f"{self._folder.path}: tells not how it takes pictures ({error}); name another"
            ) from error

    @cached_property
    def _model(self) -> tuple[Any, bool]:
        """The model, and whether its weights have all that it pools with."""
        import torch  # noqa: PLC0415  what is cached needs no model, and loading this takes seconds
        from transformers import AutoModel  # noqa: PLC0415
        from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model, loading = AutoModel.from_pretrained(
                self._folder.path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
            model.to(self._folder.device)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise ConfigError(
                f"{self._folder.path}: transformers cannot load it on {self._folder.device} ({error}); "
                "save it anew with `save_pretrained`, or name another model or device"
            ) from error
        missing = [key for key in loading["missing_keys"] if "pooler" not in key]
        if missing:
            raise ConfigError(f"{self._folder.path}: {len(missing)} weights are missing, {missing[0]} among them")
        return model.eval(), not loading["missing_keys"]

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(
            self.name,
            [content.image for content in contents],
            lambda place: self._prepared(pictures(place)),
            self._read,
            lambda: self.dim,
        )

    def _prepared(self, images: list[Any]) -> Pieces:
        """(images, 3, height, width)"""
        pieces: Pieces = np.asarray(self._processor(images=images, return_tensors="np")["pixel_values"], np.float32)
        return pieces

    def _read(self, pieces: Pieces) -> FloatMatrix:
        import torch  # noqa: PLC0415

        model, pooling = self._model
        pixels = torch.from_numpy(pieces).to(self._folder.device)
        with torch.inference_mode():
            if hasattr(model, "get_image_features"):
                output = model.get_image_features(pixel_values=pixels).pooler_output
            else:
                found = model(pixel_values=pixels)
                output = found.get("pooler_output") if pooling else None
                output = _mean(found.last_hidden_state) if output is None else output
        vectors: FloatMatrix = output.flatten(1).cpu().numpy()
        return vectors


def _mean(hidden: Any) -> Any:
    """Over tokens (n, tokens, dim) or over places (n, dim, height, width)."""
    return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))
