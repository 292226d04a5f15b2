"""Texts by their words and parts of words alone, without a model: the baseline that every model has to beat."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import ClassVar

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content
from zhiyin.encoders.hashing import projected
from zhiyin.encoders.texts import unit_vectors

PART_LENGTHS = (3, 4)
PART_WEIGHT = 0.5
"""A word has several parts, which together should not outweigh it."""

_IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff"
_RUNS = re.compile(rf"[{_IDEOGRAPHS}]+|[^\W{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")


class HashedNgrams:
    """512-dimensional vectors of words, of character 3- and 4-grams in them, of Chinese characters and their pairs.

    They weigh 1 + log(count). It learns nothing: a text's vector does not depend on the other texts.
    """

    name: ClassVar[str] = "hashed-ngrams"
    modalities = frozenset({"text"})
    dim = 512
    fingerprint = f"hashed-ngrams/1/unicode-{unicodedata.unidata_version}"

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        return unit_vectors(contents, self._read, lambda: self.dim)

    def _read(self, texts: list[str]) -> FloatMatrix:
        return projected([_bag(text) for text in texts], self.dim)


def _bag(text: str) -> Mapping[str, float]:
    bag: dict[str, float] = defaultdict(float)
    for (feature, weight), count in Counter(_features(text)).items():
        bag[feature] += weight * (1.0 + log(count))
    return bag


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
