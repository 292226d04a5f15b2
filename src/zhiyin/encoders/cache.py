"""Vectors kept by content hash: an unchanged item is never encoded twice, a changed one always is.

An encoder's vectors lie in a folder named by its fingerprint, each writing in a file of its own that is never changed,
so that processes which write at the same time lose nothing of each other's. Many files are now and then merged into
one; what cannot be read, or was written by something else, counts as not there.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content, Encoder

CHUNK = 4_096
"""Contents encoded at a time, after which they are kept whatever happens to the rest."""

MERGED_FROM = 16
"""Files of one encoder from which on they are merged."""

KEY_BYTES = 32

MEDIA = frozenset({"image", "audio"})
"""Modalities that are told by where they lie."""

Key = bytes
"""sha256 of what an encoder reads of an item."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One file. keys: one a row of `vectors` (n, dim) float32."""

    path: Path
    keys: tuple[Key, ...]
    vectors: NDArray[np.float32]


def encode_cached(encoder: Encoder, contents: Sequence[Content], folder: Path | None) -> FloatMatrix:
    """(n, dim) vectors of `contents`; only content that `folder` does not hold is encoded, and once.

    Raises `ConfigError` where the kept vectors are of another length than those of the encoder.
    """
    if folder is None or not contents:
        return encoder.encode(contents)
    place = folder / hashlib.sha256(encoder.fingerprint.encode()).hexdigest()[:16]
    keys = [_key(content, encoder.modalities) for content in contents]
    segments = _stored(place, encoder.fingerprint)
    known = {key for segment in segments for key in segment.keys}
    fresh = {key: content for key, content in zip(keys, contents, strict=True) if key not in known}
    for chunk in _chunks(list(fresh)):
        vectors = np.asarray(encoder.encode([fresh[key] for key in chunk]), np.float32)
        if segments and vectors.shape[1] != segments[0].vectors.shape[1]:
            raise ConfigError(
                f"encoder {encoder.name!r} gives {vectors.shape[1]} numbers where those kept in {place} are "
                f"{segments[0].vectors.shape[1]}: another model answers under its name; delete that folder"
            )
        segments.append(_keep(place, chunk, vectors, encoder.fingerprint))
    if len(segments) >= MERGED_FROM:
        segments = [_merged(place, segments, encoder.fingerprint)]
    return _gathered(segments, keys)


def _key(content: Content, modalities: Collection[str]) -> Key:
    """Of media the bytes count, not where they lie."""
    digest = hashlib.sha256()
    for modality in sorted(modalities):
        value = getattr(content, modality)
        digest.update(f"\x1e{modality}\x1f".encode())
        if value is not None:
            told = _bytes(value) if modality in MEDIA else value.encode("utf-8", "surrogatepass")
            digest.update(b"\x1f" + told)
    return digest.digest()


def _bytes(place: str) -> bytes:
    try:
        if Path(place).is_file():  # of other things, such as a device, the reading may never end
            with Path(place).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        pass
    return place.encode("utf-8", "surrogatepass")


def _chunks(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    return (keys[at : at + CHUNK] for at in range(0, len(keys), CHUNK))


def _stored(place: Path, fingerprint: str) -> list[Segment]:
    """All readable segments, of one length of vector."""
    while True:
        paths = sorted(path for path in place.glob("*.safetensors") if path.is_file())
        try:
            found = [segment for path in paths if (segment := _read(path, fingerprint)) is not None]
        except FileNotFoundError:  # another process merged it meanwhile
            continue
        return [segment for segment in found if segment.vectors.shape[1] == found[0].vectors.shape[1]]


def _read(path: Path, fingerprint: str) -> Segment | None:
    try:
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            keys, vectors = file.get_tensor("keys"), file.get_tensor("vectors")
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError):
        return None
    if keys.shape != (len(vectors), KEY_BYTES) or vectors.ndim != 2 or not np.isfinite(vectors).all():
        return None
    table = keys.tobytes()
    return Segment(path, tuple(table[at : at + KEY_BYTES] for at in range(0, len(table), KEY_BYTES)), vectors)


def _keep(place: Path, keys: Sequence[Key], vectors: NDArray[np.float32], fingerprint: str) -> Segment:
    """Written beside its place and moved there whole."""
    table = b"".join(keys)
    path = place / f"{hashlib.sha256(table).hexdigest()[:32]}.safetensors"
    place.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(f".{uuid4().hex}.building")
    rows = np.frombuffer(table, np.uint8).reshape(-1, KEY_BYTES)
    save_file({"keys": rows, "vectors": np.ascontiguousarray(vectors)}, building, {"fingerprint": fingerprint})
    building.replace(path)
    return Segment(path, tuple(keys), vectors)


def _merged(place: Path, segments: Sequence[Segment], fingerprint: str) -> Segment:
    """All of `segments` in one, which is there before any of them is gone."""
    keys = list(dict.fromkeys(key for segment in segments for key in segment.keys))
    whole = _keep(place, keys, _gathered(segments, keys), fingerprint)
    for segment in segments:
        if segment.path != whole.path:
            segment.path.unlink(missing_ok=True)
    return whole


def _gathered(segments: Sequence[Segment], keys: Sequence[Key]) -> NDArray[np.float32]:
    """(keys, dim): the vector of each key."""
    starts = np.cumsum([0, *(len(segment.keys) for segment in segments)])
    row_of: dict[Key, int] = {}
    for segment, start in zip(segments, starts[:-1].tolist(), strict=True):
        row_of |= zip(segment.keys, range(start, start + len(segment.keys)), strict=True)
    rows = np.array([row_of[key] for key in keys], np.int64)
    vectors = np.empty((len(keys), segments[0].vectors.shape[1]), np.float32)
    for segment, start in zip(segments, starts[:-1].tolist(), strict=True):
        inside = np.flatnonzero((rows >= start) & (rows < start + len(segment.keys)))
        vectors[inside] = segment.vectors[rows[inside] - start]
    return vectors
