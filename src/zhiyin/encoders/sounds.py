"""The encoder of sounds: the network of Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound
Effects Libraries" (2022), its weights (CC BY 4.0) by a package.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.encoders.media import SECONDS, sound
from zhiyin.encoders.mel import LOUDEST, audible, log_mel
from zhiyin.encoders.pieces import Pieces, unit_vectors
from zhiyin.encoders.weights import installed, packaged

RATE, FRAME, HOP, BANDS = 44_100, 2_048, 1_024, 96

WINDOW = 100
"""Frames, 2.3 s."""

HIGHEST = 9.457798957824707
"""Of all spectra that the network learned from, which makes 1."""

CHANNELS = (64, 128, 256, 512)
POOLS = (2, 2, 2, 1)

PACKAGE = "aisfx"
FILE = "models/checkpoint.pth"
SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"


class Aisfx:
    """512-dimensional vectors of what is heard, learned on libraries of sound effects. Reads no network.

    Of a video its soundtrack; of what is longer than `SECONDS` the beginning, as the mean over windows.
    """

    name: ClassVar[str] = "aisfx"
    modalities = frozenset({"audio"})
    dim = CHANNELS[-1]
    fingerprint = f"aisfx/{SHA256}/{SECONDS}/{LOUDEST}"

    def __init__(self) -> None:
        """Raises `ConfigError` where the extra `audio` or the package of the weights is not installed.

        That package asks for an old numpy that it does not need for its weights, so no extra can name it.
        """
        if not installed(PACKAGE, "av"):
            raise ConfigError(
                f"encoder {self.name!r} needs the extra `audio` and its weights: "
                "pip install 'zhiyin[audio]'; pip install --no-deps aisfx==0.1.2"
            )

    @cached_property
    def _model(self) -> Any:
        from torch import nn  # noqa: PLC0415

        model = nn.Sequential()
        for number, (read, made, pool) in enumerate(zip((1, *CHANNELS), CHANNELS, POOLS, strict=False), 1):
            model.add_module(f"conv_block{number}", _block(read, made, pool))
        prefix = "embedding_net."
        weights = packaged(PACKAGE, FILE, SHA256)
        model.load_state_dict({key.removeprefix(prefix): value for key, value in weights.items() if prefix in key})
        return model.eval()

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(self.name, [content.audio for content in contents], _windows, self._read, lambda: self.dim)

    def _read(self, pieces: Pieces) -> FloatMatrix:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            vectors: FloatMatrix = self._model(torch.from_numpy(pieces)[:, None]).mean(3).amax(2).numpy()
        return vectors


def _block(read: int, made: int, pool: int) -> Any:
    from torch import nn  # noqa: PLC0415

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(read, made, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(made),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(made, made, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(made),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(pool),
        )
    )


def _windows(place: str) -> Pieces:
    """(windows, WINDOW, BANDS); a last part is left out where there is a whole window, else filled up with silence."""
    samples = audible(sound(place, RATE))
    if not len(samples):
        return np.zeros((0, WINDOW, BANDS), np.float32)
    energy = log_mel(samples, RATE, FRAME, HOP, BANDS) / np.float32(HIGHEST)
    energy = np.pad(energy, ((0, max(WINDOW - len(energy), 0)), (0, 0)))
    return energy[: len(energy) // WINDOW * WINDOW].reshape(-1, WINDOW, BANDS)
