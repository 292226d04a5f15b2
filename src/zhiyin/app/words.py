"""Use case: recommendations by words, in Chinese or English, with examples, filters and what the user likes."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import NotFoundError
from zhiyin.core.models import Content, Encoder
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.encoders.cache import encode_cached
from zhiyin.retrieval.eligibility import Eligibility
from zhiyin.retrieval.topn import TopN, top_n
from zhiyin.retrieval.words import Asked, WordIndex, blended, unit

PERSONAL_WEIGHT = 0.3
WHOLE = 0.7


@dataclass(frozen=True)
class WordsRequest:
    """text: free words. like, unlike: item ids, which are not shown again. categories: narrow the list, empty for all.

    weight: of the user's own scores, where there are any, 0 to 1.
    """

    text: str = ""
    like: Sequence[str] = ()
    unlike: Sequence[str] = ()
    categories: Sequence[str] = ()
    n: int = 10
    weight: float = PERSONAL_WEIGHT


class Words:
    """The items of one catalogue by words. Safe to use from several threads where the encoder is.

    cache: a folder of item vectors, so that another catalogue with the same items costs no encoding.
    """

    def __init__(self, catalog: Catalog, encoder: Encoder, cache: Path | None = None) -> None:
        names = _names(catalog)
        vectors = encode_cached(encoder, [Content(text=name) for name in names], cache)
        kinds = dict(zip(names, vectors, strict=True))
        self._take(catalog, encoder, item_vectors(catalog, encoder, cache), kinds)

    def over(self, catalog: Catalog) -> "Words":
        """Words of another catalogue; only what this one's items do not say is encoded."""
        views = _views(catalog)
        place = {view: row for row, view in enumerate(self._views)}
        rows = np.array([place.get(view, UNKNOWN) for view in views], np.int64)
        fresh = np.flatnonzero(rows == UNKNOWN)
        vectors = np.empty((len(views), self._vectors.shape[1]), self._vectors.dtype)
        vectors[rows != UNKNOWN] = self._vectors[rows[rows != UNKNOWN]]
        if len(fresh):
            vectors[fresh] = item_vectors(catalog.take(fresh), self._encoder, None)
        names = _names(catalog)
        new = [name for name in names if name not in self._kinds]
        known = self._kinds | dict(zip(new, self._encoder.encode([Content(text=name) for name in new]), strict=True))
        other = copy(self)
        other._take(catalog, self._encoder, vectors, {name: known[name] for name in names})
        return other

    def _take(self, catalog: Catalog, encoder: Encoder, vectors: FloatMatrix, kinds: Mapping[str, FloatVector]) -> None:
        self._encoder = encoder
        self._rows = Vocabulary(catalog.item_id)
        self._eligibility = Eligibility(catalog)
        self._views, self._vectors, self._kinds = _views(catalog), vectors, dict(kinds)
        self.index = WordIndex(catalog, vectors, kinds)

    def find(
        self, request: WordsRequest, now: int, seen: IntVector | None = None, personal: FloatVector | None = None
    ) -> TopN:
        """One line of `request.n` places.

        now: epoch ms. seen: rows that the list must not hold. personal: (items,) the user's own scores.
        Raises `InputError` where nothing is asked for or a number is out of range, `NotFoundError` for an unknown item.
        """
        like, unlike = self._found(request.like), self._found(request.unlike)
        text = request.text.strip()
        vector = self._encoder.encode([Content(text=text)])[0] if text else None
        scores = self.index.scores(Asked(text, vector, like, unlike))
        hidden = np.concatenate([like, unlike, np.empty(0, np.int64) if seen is None else seen])
        eligible = self._eligibility.mask(now, hidden, request.categories)
        if personal is not None:
            scores = blended(scores, personal, request.weight, eligible)
        return top_n(scores[None], request.n, eligible)

    def _found(self, ids: Sequence[str]) -> IntVector:
        rows = self._rows.rows(ids)
        if (rows == UNKNOWN).any():
            raise NotFoundError(f"no item {ids[int(np.argmax(rows == UNKNOWN))]!r} in the catalogue; check the id")
        return rows


def item_vectors(catalog: Catalog, encoder: Encoder, cache: Path | None) -> FloatMatrix:
    """(items, dim) of unit length: of an item's whole text, by `WHOLE`, and of it without the title.

    A title often says little of what an item is about, and leads an encoder astray: on queries that the benchmark's
    bound does not judge, both together were ahead of either.
    """
    views = _views(catalog)
    whole, untitled = (encode_cached(encoder, [Content(text=view[side]) for view in views], cache) for side in range(2))
    return unit(WHOLE * whole + untitled)


def _names(catalog: Catalog) -> list[str]:
    return sorted({name for own in catalog.categories for name in own})


def _views(catalog: Catalog) -> list[tuple[str | None, str | None]]:
    """Of each item its whole text, and what is left of it without the title, or the whole where nothing is."""
    pairs = zip(catalog.texts(), catalog.texts(titled=False), strict=True)
    return [(whole, untitled or whole) for whole, untitled in pairs]
