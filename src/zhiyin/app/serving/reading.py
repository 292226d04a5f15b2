"""What encoders say of items that came after training, each read once."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from zhiyin.app.prepare import contents_of
from zhiyin.app.registry import make_encoder
from zhiyin.app.system import System
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.models import Content, Encoder
from zhiyin.encoders.cache import encode_cached

LOG = logging.getLogger(__name__)

FOLDER = "later"
"""Beside the vectors that training keeps: those of a large catalogue take longer to read than one item to encode."""


AT_ONCE = 1_000

Read: TypeAlias = tuple[str | None, ...]
"""What an encoder reads of a content."""


class Reader:
    """The encoders of one system, made when they are first needed; vectors are for one thread at a time.

    What they said is kept in memory and, where there is a folder that can be written, found there after a restart.
    encoded: how many contents were asked for that were not in memory.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._made: dict[str, Encoder] = {}
        self.encoded = 0
        self._said: dict[str, dict[Read, NDArray[np.float32]]] = {}
        kept = system.vectors is not None and system.vectors.is_dir() and os.access(system.vectors, os.W_OK)
        self._folder = system.vectors / FOLDER if system.vectors is not None and kept else None

    def content(self, catalog: Catalog) -> Mapping[str, FloatMatrix]:
        """By encoder, as in a data set; one that the model does not ask for encodes nothing."""
        return _Asked(self, contents_of(catalog))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The encoders that found something to read at training."""
        return tuple(
            name for name in self._system.settings.encoders if _finds(self.encoder(name), self._system.catalog)
        )

    def vectors(self, name: str, contents: Sequence[Content]) -> FloatMatrix:
        """(n, dim) of the encoder `name`."""
        encoder, said = self.encoder(name), self._said.setdefault(name, {})
        keys = [tuple(getattr(content, modality) for modality in sorted(encoder.modalities)) for content in contents]
        fresh = {key: content for key, content in zip(keys, contents, strict=True) if key not in said}
        if fresh:
            self.encoded += len(fresh)
            said.update(zip(fresh, self._encoded(encoder, list(fresh.values())), strict=True))
        return np.stack([said[key] for key in keys])

    def encoder(self, name: str) -> Encoder:
        """Made when it is first asked for, and the same from then on."""
        if name not in self._made:
            self._made[name] = make_encoder(name)
        return self._made[name]

    def _encoded(self, encoder: Encoder, contents: Sequence[Content]) -> FloatMatrix:
        try:
            return encode_cached(encoder, contents, self._folder)
        except (OSError, SafetensorError) as error:
            LOG.warning("vectors of new items are kept in memory alone: %s", error)
            self._folder = None
        return encoder.encode(contents)


def _finds(encoder: Encoder, catalog: Catalog) -> bool:
    """Whether there is something to read in any item; of a large catalogue, the first items mostly tell."""
    parts = (np.arange(start, min(start + AT_ONCE, len(catalog))) for start in range(0, len(catalog), AT_ONCE))
    contents = (content for rows in parts for content in contents_of(catalog.take(rows)))
    return any(getattr(content, modality) for content in contents for modality in encoder.modalities)


class _Asked(Mapping[str, FloatMatrix]):
    """Vectors of `contents` by encoder, made when they are asked for."""

    def __init__(self, reader: Reader, contents: Sequence[Content]) -> None:
        self._reader = reader
        self._contents = contents

    def __getitem__(self, name: str) -> FloatMatrix:
        if name not in self._reader.names:
            raise KeyError(name)
        return self._reader.vectors(name, self._contents)

    def __contains__(self, name: object) -> bool:
        return name in self._reader.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.names)

    def __len__(self) -> int:
        return len(self._reader.names)
