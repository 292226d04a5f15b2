"""Texts by their words and parts of words alone, without a model: the baseline that every model has to beat."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import log
from typing import ClassVar
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content
from zhiyin.encoders.texts import unit_vectors

BUCKETS = 1 << 18
SIGN = 1 << 31
DRAWS = 8
"""Dimensions onto which a bucket is projected."""

PART_LENGTHS = (3, 4)
PART_WEIGHT = 0.5
"""A word has several parts, which together should not outweigh it."""

BATCH = 4_096

_IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff"
_RUNS = re.compile(rf"[{_IDEOGRAPHS}]+|[^\W{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")


class HashedNgrams:
    """512-dimensional vectors of words, of character 3- and 4-grams in them, of Chinese characters and their pairs.

    Features are hashed with signs (Weinberger et al., 2009), weighted 1 + log(count) and projected at random onto few
    dimensions each (Kane and Nelson, "Sparser Johnson-Lindenstrauss Transforms", 2014). It learns nothing: a text's
    vector does not depend on the other texts.
    """

    name: ClassVar[str] = "hashed-ngrams"
    modalities = frozenset({"text"})
    dim = 512
    fingerprint = f"hashed-ngrams/1/unicode-{unicodedata.unidata_version}"

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        starts = range(0, len(texts), BATCH)
        return np.concatenate([(_hashed(texts[at : at + BATCH]) @ self._projection).toarray() for at in starts])

    @cached_property
    def _projection(self) -> csr_array:
        """(buckets, dim) float32, `DRAWS` entries of one size and either sign a row."""
        generator = np.random.Generator(np.random.PCG64(0))
        columns = generator.integers(0, self.dim, BUCKETS * DRAWS, np.int32)
        signs = generator.integers(0, 2, BUCKETS * DRAWS, np.int8) * 2.0 - 1.0
        starts = np.arange(0, BUCKETS * DRAWS + 1, DRAWS)
        return csr_array((signs.astype(np.float32), columns, starts), shape=(BUCKETS, self.dim))


def _hashed(texts: list[str]) -> csr_array:
    """(texts, buckets) float32."""
    columns: list[int] = []
    values: list[float] = []
    starts = [0]
    for text in texts:
        for (feature, weight), count in Counter(_features(text)).items():
            key = crc32(feature.encode("utf-8", "surrogatepass"))
            columns.append(key % BUCKETS)
            values.append((weight if key & SIGN else -weight) * (1.0 + log(count)))
        starts.append(len(columns))
    return csr_array((np.array(values, np.float32), columns, starts), shape=(len(texts), BUCKETS))


def _features(text: str) -> Iterator[tuple[str, float]]:
    """What a text is made of, with its weight; of a text without a word its symbols."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    for run in _RUNS.findall(plain) or [plain]:
        if _IDEOGRAPH.match(run):
            yield from ((character, 1.0) for character in run)
            yield from ((run[at : at + 2], 1.0) for at in range(len(run) - 1))
        else:
            yield run, 1.0
            marked = f"<{run}>"
            for length in PART_LENGTHS:
                yield from ((marked[at : at + length], PART_WEIGHT) for at in range(len(marked) - length + 1))
