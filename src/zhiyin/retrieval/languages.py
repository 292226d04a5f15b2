"""Chinese or not: told by the script, and taken out of the vectors, so that a query meets items of both alike.

A multilingual encoder lays the texts of one language together, some of them by much. Taking each language's mean off
removes the part of a vector that says only which language it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, IntMatrix, TextVector
from zhiyin.core.errors import InputError
from zhiyin.core.events import text as text_vector
from zhiyin.core.terms import HAN, KANA, UNSPACED
from zhiyin.core.vocabulary import UNKNOWN

CHINESE = "zh"
OTHER = "other"

PRIOR_ITEMS = 100
"""Items of the whole catalogue that count as much as a language's own: the mean of a handful is mostly its items."""

_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA}]")
_WORD = re.compile(rf"[^\W\d_{UNSPACED}]+")

_KANA_SHARE = 0.1


def language_of(text: str | None) -> str:
    """`CHINESE` where Chinese characters outnumber the words of other scripts, else `OTHER`.

    Text with more than a little kana is Japanese, and Chinese written in Latin letters is not known as Chinese.
    """
    han, kana = len(_HAN.findall(text or "")), len(_KANA.findall(text or ""))
    japanese = kana > _KANA_SHARE * (han + kana)
    return CHINESE if han > len(_WORD.findall(text or "")) and not japanese else OTHER


def languages_of(texts: Sequence[str | None]) -> TextVector:
    """(n,) the language of each."""
    return text_vector(language_of(text) for text in texts)


@dataclass(frozen=True, eq=False)
class LanguageCentre:
    """What is taken off the vectors of each language. means: language -> (dim,); whole: (dim,) for any other."""

    means: Mapping[str, FloatMatrix]
    whole: FloatMatrix

    @classmethod
    def of(cls, vectors: FloatMatrix, languages: TextVector) -> "LanguageCentre":
        """vectors: (n, dim) of a catalogue; rows of zeros (nothing to read) do not count.

        The mean of a language with few items is drawn to that of all. Raises `InputError` where lengths differ.
        """
        if len(vectors) != len(languages):
            raise InputError(f"{len(vectors)} vectors cannot have {len(languages)} languages; give one for each")
        present = vectors.any(axis=1)
        whole = _mean(vectors[present])
        means = {}
        for language in sorted(set(languages[present])):
            members = vectors[present & (languages == language)]
            means[language] = (members.sum(axis=0) + PRIOR_ITEMS * whole) / (len(members) + PRIOR_ITEMS)
        return cls(means, whole)

    def centred(self, vectors: FloatMatrix, languages: TextVector) -> FloatMatrix:
        """(n, dim) float32 of unit length, each less its language's mean; rows of zeros stay zeros."""
        means = np.stack([self.means.get(language, self.whole) for language in languages] or [self.whole])
        moved = np.where(vectors.any(axis=1, keepdims=True), vectors - means[: len(vectors)], 0.0)
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        unit: FloatMatrix = (moved / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit


def language_bias(found: IntMatrix, asked: TextVector, languages: TextVector, pool: BoolVector | None = None) -> float:
    """How much likelier than by chance a result is of its query's language: 0 is none, 0.1 ten points too many.

    The share of same-language items among those found less their share of the pool, mean over queries. Ask the same
    things in every language: what is wanted may truly be there in one only, which then evens out.
    found: (queries, n) item rows, `UNKNOWN` where there is none. asked: (queries,) languages. languages: (items,).
    pool: (items,) those that could be found; None for all.
    """
    shares = []
    for rows, language in zip(found, asked, strict=True):
        same = languages == language
        known = rows[rows != UNKNOWN]
        if len(known):
            shares.append(float(same[known].mean() - (same if pool is None else same[pool]).mean()))
    return float(np.mean(shares)) if shares else 0.0


def _mean(vectors: FloatMatrix) -> FloatMatrix:
    total: FloatMatrix = vectors.sum(axis=0) / max(len(vectors), 1)
    return total
