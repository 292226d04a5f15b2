"""Vectors kept by content hash: an unchanged item is never encoded twice, a changed one always is."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content, Encoder


def encode_cached(encoder: Encoder, contents: Sequence[Content], folder: Path | None) -> FloatMatrix:
    """(n, dim) vectors of `contents`; only content that `folder` does not hold is encoded."""
    if folder is None:
        return encoder.encode(contents)
    path = folder / f"{hashlib.sha256(encoder.fingerprint.encode()).hexdigest()[:16]}.safetensors"
    stored = load_file(path) if path.is_file() else {}
    known = {bytes(key): row for row, key in enumerate(stored.get("keys", np.zeros((0, 32), np.uint8)))}
    keys = [_key(content) for content in contents]
    fresh = {key: content for key, content in zip(keys, contents, strict=True) if key not in known}
    vectors = stored.get("vectors", np.zeros((0, encoder.dim), np.float32))
    if fresh:
        known |= {key: len(known) + offset for offset, key in enumerate(fresh)}
        vectors = np.concatenate([vectors, encoder.encode(list(fresh.values()))]).astype(np.float32)
        folder.mkdir(parents=True, exist_ok=True)
        building = path.with_suffix(".building")
        table = np.frombuffer(b"".join(known), np.uint8).reshape(-1, 32)
        save_file({"keys": table, "vectors": vectors}, building)
        building.replace(path)
    return vectors[[known[key] for key in keys]]


def _key(content: Content) -> bytes:
    whole = "\x1f".join(part or "" for part in (content.text, content.image, content.audio))
    return hashlib.sha256(whole.encode()).digest()
