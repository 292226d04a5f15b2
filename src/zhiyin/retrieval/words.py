"""Search by words: what a text means, what an item is called, and examples to be like or unlike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector, TextVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import InputError
from zhiyin.core.terms import counted, terms
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.retrieval.languages import PRIOR_ITEMS, LanguageCentre, languages_of

COMMON_DIRECTIONS = 3
"""By MRR over queries that are not those of the benchmark's bound, before evening; 2 and 5 are level with it after."""

LIKE, UNLIKE = 0.75, 0.15
"""Weights of examples beside a text of weight 1 (Manning, Raghavan and Schütze, 2008, 9.1.1)."""

RANK_OFFSET = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""

NAME_WEIGHT = 12.0
"""Of a name that is typed whole, in standard deviations of the cosine."""

KIND_WEIGHT = 0.3
"""Of an item's categories beside all that is said of it. More finds no more, on queries that are not those of the
benchmark's bound, and finds more of the query's own language."""

_K1, _B = 1.2, 0.75


@dataclass(frozen=True, eq=False)
class MeaningSpace:
    """Vectors without what they share: their language's mean, and the directions along which all of a catalogue
    spread most, which tell little of what an item is about (Mu and Viswanath, 2018, "All-but-the-Top").

    common: (directions, dim), orthonormal.
    """

    centre: LanguageCentre
    common: FloatMatrix

    @classmethod
    def of(cls, vectors: FloatMatrix, languages: TextVector) -> "MeaningSpace":
        """vectors: (items, dim). languages: (items,) as `languages_of` tells them."""
        centre = LanguageCentre.of(vectors, languages)
        centred = centre.centred(vectors, languages)
        # Mu and Viswanath take a hundredth of the dimension; fewer items than numbers have none in common.
        directions = min(COMMON_DIRECTIONS, vectors.shape[1] // 100) if len(vectors) > vectors.shape[1] else 0
        _, axes = np.linalg.eigh(centred.T @ centred)
        return cls(centre, axes[:, ::-1][:, :directions].T)

    def placed(self, vectors: FloatMatrix, languages: TextVector) -> FloatMatrix:
        """(n, dim) float32 of unit length; zeros stay zeros."""
        centred = self.centre.centred(vectors, languages)
        return unit(centred - (centred @ self.common.T) @ self.common)


class TitleTerms:
    """Which share of a query's weight an item's title holds, by BM25 (Robertson and Zaragoza, 2009; k1 1.2, b 0.75).

    Terms are words and, of scripts that do not set words apart, pairs of neighbouring characters.
    """

    def __init__(self, titles: Sequence[str | None]) -> None:
        self._terms, columns, starts = counted(titles, singles=False)
        shape = (len(titles), len(self._terms))
        counts = sparse.csr_matrix((np.ones(len(columns)), columns, starts), shape)
        counts.sum_duplicates()
        held = np.bincount(counts.indices, minlength=shape[1])
        self._rarity = np.log1p((shape[0] - held + 0.5) / (held + 0.5))
        self._unknown = float(np.log1p((shape[0] + 0.5) / 0.5))
        lengths = np.diff(np.asarray(starts))
        relative = lengths / max(lengths.mean() if len(lengths) else 0.0, 1e-12)
        damping = np.repeat(_K1 * (1 - _B + _B * relative), np.diff(counts.indptr))
        counts.data = self._rarity[counts.indices] * counts.data * (_K1 + 1) / (counts.data + damping)
        self._weights = counts.tocsc()

    def shares(self, text: str) -> FloatVector:
        """(items,) the sum of the weights that a title has of the query's terms, over the most that it could be: 1 is
        about a title that is the query; a term that no title holds counts as the rarest."""
        asked = set(terms(text, singles=False))
        known = [self._terms[term] for term in asked if term in self._terms]
        most = (float(self._rarity[known].sum()) + self._unknown * (len(asked) - len(known))) * (_K1 + 1)
        if not known:
            return np.zeros(self._weights.shape[0])
        found: FloatVector = np.asarray(self._weights[:, known].sum(axis=1)).ravel() / most
        return found


@dataclass(frozen=True, eq=False)
class Asked:
    """What is looked for. vector: (dim,) of `text` as the encoder gives it, None without a text.

    like, unlike: item rows.
    """

    text: str = ""
    vector: FloatVector | None = None
    like: IntVector = field(default_factory=lambda: np.empty(0, np.int64))
    unlike: IntVector = field(default_factory=lambda: np.empty(0, np.int64))


class WordIndex:
    """The items of one catalogue, to be found by words and examples.

    vectors: (items, dim) of what is said of each, zeros where there is nothing to read. kinds: (dim,) of each category
    by its name alone: who asks for a kind of thing often says only that, and a whole text holds much besides.
    """

    def __init__(self, catalog: Catalog, vectors: FloatMatrix, kinds: Mapping[str, FloatVector]) -> None:
        if len(catalog) != len(vectors):
            raise InputError(f"{len(catalog)} items and {len(vectors)} vectors: one an item each")
        self.languages = languages_of(catalog.texts())
        self._space = MeaningSpace.of(vectors, self.languages)
        items = self.placed(vectors, self.languages)
        self._silent: BoolVector = ~np.any(items, axis=1)
        self._items = items + KIND_WEIGHT * self._of_kinds(catalog, kinds)
        self._titles = TitleTerms(list(catalog.title))

    def placed(self, vectors: FloatMatrix, languages: TextVector) -> FloatMatrix:
        """(n, dim) vectors of the encoder as they are compared with those of the items."""
        return self._space.placed(vectors, languages)

    def _of_kinds(self, catalog: Catalog, kinds: Mapping[str, FloatVector]) -> FloatMatrix:
        """(items, dim) float32 of unit length, what the categories of each item have in common."""
        if not kinds:
            return np.zeros((len(catalog), self._space.common.shape[1]), np.float32)
        names, vectors = Vocabulary(kinds), np.stack(list(kinds.values()))
        owners = np.repeat(np.arange(len(catalog)), [len(own) for own in catalog.categories])
        columns = names.rows([name for own in catalog.categories for name in own])
        shape = (len(catalog), len(names))
        held = sparse.csr_matrix((np.ones(len(columns), np.float32), (owners, columns)), shape)
        return unit(held @ self.placed(vectors, languages_of(list(kinds))))

    def scores(self, asked: Asked) -> FloatVector:
        """(items,) higher is better: the cosine with what is asked for, evened between languages, plus `NAME_WEIGHT`
        times the squared share of its words that the title holds. Squared, a name that is typed whole comes first and
        a stray common word changes little: on queries that the bound does not judge, plain sums and reciprocal ranks
        found as many names only at the cost of meaning.

        Raises `InputError` where neither a text nor an example is given.
        """
        if asked.vector is None and not len(asked.like) and not len(asked.unlike):
            raise InputError("nothing is asked for: give a text, or items to be like or unlike")
        direction = np.zeros(self._items.shape[1], np.float32)
        if asked.vector is not None:
            direction += self.placed(asked.vector[None], languages_of([asked.text]))[0]
        if len(asked.like):
            direction += LIKE * self._items[asked.like].mean(axis=0)
        if len(asked.unlike):
            direction -= UNLIKE * self._items[asked.unlike].mean(axis=0)
        meaning = evened(self._items @ unit(direction[None])[0], self.languages, np.logical_not(self._silent))
        found: FloatVector = meaning + NAME_WEIGHT * self._titles.shares(asked.text) ** 2
        return np.where(self._silent, found.min(initial=0.0) - 1.0, found)


def evened(cosines: FloatVector, languages: TextVector, counted: BoolVector) -> FloatVector:
    """(items,) cosines less their mean, over their standard deviation, among the items of the same language.

    What is left of a language after its centre is gone lifts all of its items alike; an item that stands out among its
    own still does. counted: items whose cosine means something. A language with few items goes by those of all.
    """
    result = np.zeros(len(cosines))
    for language in sorted(set(languages)):
        members = languages == language
        peers = members & counted
        reference = cosines[peers if peers.sum() >= PRIOR_ITEMS else counted]
        if len(reference):
            result[members] = (cosines[members] - reference.mean()) / max(float(reference.std()), 1e-6)
    return result


def blended(found: FloatVector, personal: FloatVector, weight: float, eligible: BoolVector) -> FloatVector:
    """(items,) the order of `found` and that of `personal`, the user's own scores, in one.

    weight: 0 leaves the search as it is, 1 the user's list. Ranks among the eligible are fused, since the scores of
    models differ in scale: a sum of weight / (60 + rank). Raises `InputError` for a weight outside 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise InputError(f"the user's weight is between 0 and 1, not {weight}")
    mixed = (1 - weight) / (RANK_OFFSET + _ranks(found, eligible)) + weight / (RANK_OFFSET + _ranks(personal, eligible))
    return np.where(eligible, mixed, 0.0)


def unit(vectors: FloatMatrix) -> NDArray[np.float32]:
    """(n, dim) of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 1e-6, lengths, np.inf)).astype(np.float32)


def _ranks(scores: FloatVector, eligible: BoolVector) -> FloatVector:
    """From 1, among the eligible; equal scores share the best of their ranks."""
    ordered = np.sort(-scores[eligible])
    return np.searchsorted(ordered, -scores, side="left") + 1.0
