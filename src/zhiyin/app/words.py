"""Use case: recommendations by words, in Chinese or English, with examples, filters and what the user likes."""

from collections.abc import Sequence
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
        self._encoder = encoder
        self._rows = Vocabulary(catalog.item_id)
        self._eligibility = Eligibility(catalog)
        texts = catalog.texts()
        self.index = WordIndex(texts, list(catalog.title), item_vectors(catalog, encoder, cache))

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
    """(items, dim) of unit length: of an item's whole text and of it without the title, half each.

    A title often says little of what an item is about, and leads an encoder astray: on queries that the benchmark's
    bound does not judge, half and half was ahead of either.
    """
    whole = catalog.texts()
    untitled = [rest or text for rest, text in zip(catalog.texts(titled=False), whole, strict=True)]
    views = [encode_cached(encoder, [Content(text=text) for text in texts], cache) for texts in (whole, untitled)]
    return unit(views[0] + views[1])
