"""Vectors that somebody else has made, by the id of the item."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zhiyin.core.arrays import BoolVector, FloatMatrix
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Content
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary

ITEM, VECTOR = "item_id", "vector"
READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
}


class Vectors:
    """The vectors of a file with columns `item_id` and `vector`, a list of numbers: Parquet or JSON Lines.

    An item that is not in the file has nothing to read.
    """

    name: ClassVar[str] = "vectors"
    modalities = frozenset({"item"})

    def __init__(self, argument: str) -> None:
        """argument: the file. Raises `ConfigError` where there is none, and once it is read, naming the row, where it
        does not hold one vector an item, all of one length.
        """
        self._path = Path(argument).expanduser()
        if self._path.suffix not in READERS or not self._path.is_file():
            raise ConfigError(f"encoder {self.name!r}: {argument} is no file of the kinds {', '.join(READERS)}")
        with self._path.open("rb") as file:
            self.fingerprint = f"{self.name}/{hashlib.file_digest(file, 'sha256').hexdigest()}"

    @property
    def dim(self) -> int:
        return int(self._table[1].shape[1])

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        items, vectors = self._table
        rows = items.rows([content.item or "" for content in contents])
        found = np.zeros((len(contents), vectors.shape[1]), np.float32)
        found[rows != UNKNOWN] = vectors[rows[rows != UNKNOWN]]
        return found

    @cached_property
    def _table(self) -> tuple[Vocabulary, NDArray[np.float32]]:
        """The items, and (items, dim) of unit length; zeros stay zeros."""
        try:
            told = READERS[self._path.suffix](self._path).select(
                pl.col(ITEM).cast(pl.String), pl.col(VECTOR).cast(pl.List(pl.Float64))
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ConfigError(
                f"{self._path}: cannot be read as a column {ITEM} and a column {VECTOR} of lists of numbers ({error})"
            ) from error
        if told.is_empty():
            raise ConfigError(f"{self._path}: holds no vectors")
        lengths = told[VECTOR].list.len().fill_null(0).to_numpy()
        self._refuse(told[ITEM].is_null().to_numpy(), f"no {ITEM}")
        self._refuse(~told[ITEM].is_first_distinct().to_numpy(), f"an {ITEM} that was there before")
        self._refuse(lengths == 0, f"no {VECTOR}")
        self._refuse(lengths != lengths[0], f"a {VECTOR} that is not of {lengths[0]} numbers like the first")
        vectors = np.array(told[VECTOR].to_list(), np.float64)
        self._refuse(np.logical_not(np.isfinite(vectors).all(axis=1)), "a number that is missing or not finite")
        # So that no square overflows or vanishes.
        vectors /= np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Vocabulary(told[ITEM]), (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)

    def _refuse(self, rows: BoolVector, problem: str) -> None:
        if rows.any():
            raise ConfigError(f"{self._path}, row {int(rows.argmax()) + 1}: {problem}; correct the file")
