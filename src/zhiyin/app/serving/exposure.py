"""Places of a list for items that training has not seen, beyond those that their scores earn.

Nobody can like what nobody is shown, and a model is less sure of an item that nobody has touched. So a share of the
places of a list is theirs: where their scores earn fewer, the best of them take the places of the last of the others.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector
from zhiyin.core.histories import DAY

SHARE = 0.1
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


def _origin(given: str) -> str:
    if not _ORIGIN.fullmatch(given):
        raise ValueError(f"{given!r:.80} is no origin: name the site alone, such as https://shop.example")
    return given


class ServingSettings(BaseModel):
    """new_items: the share of a list's places that new items have though their scores earn fewer. origins: of the sites
    whose pages may ask from a browser, `https://shop.example`; none but the server's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    new_items: float = Field(default=SHARE, ge=0, le=1)
    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """A list, best first. rows, scores: (n,). chances: (n,) with which each item came to its place."""

    rows: IntVector
    scores: FloatVector
    chances: FloatVector

    @classmethod
    def of(cls, rows: IntVector, scores: FloatVector) -> "Line":
        """A list in which nothing is left to chance."""
        return cls(rows, scores, np.ones(len(rows)))


@dataclass(frozen=True)
class Exposure:
    """share: of the places of a list, 0 for none. luck: 0 to 1, rounds what is no whole number of places, up if low."""

    share: float = 0.0
    luck: float = 0.0

    @classmethod
    def of(cls, share: float, user_id: str, now: int) -> "Exposure":
        """The same for a user all day (UTC), so that a list stays as it is when it is asked for again."""
        digest = sha256(f"{now // DAY}\x1f{user_id}".encode("utf-8", "surrogatepass")).digest()
        return cls(share, int.from_bytes(digest[:8], "big") / 2**64)

    def given(
        self, rows: IntVector, scores: FloatVector, new: BoolVector, best_new: tuple[IntVector, FloatVector]
    ) -> Line:
        """The list `rows` with as many new items as are due to them.

        new: (n,) which of `rows` are new. best_new: rows and scores of new items that it may hold, best first.
        """
        if not len(best_new[0]):
            return Line.of(rows, scores)
        due = round(self.share * len(rows), 9)
        fewer, chance = int(due), due - int(due)
        lists = [
            (probability, *_with_new(rows, scores, new, best_new, places))
            for probability, places in ((1.0 - chance, fewer), (chance, fewer + 1))
            if probability > 0
        ]
        _, found, found_scores = lists[-1 if self.luck < chance else 0]
        chances = np.sum([probability * (other == found) for probability, other, _ in lists], axis=0)
        return Line(found, found_scores, chances)


NONE = Exposure()


def _with_new(
    rows: IntVector, scores: FloatVector, new: BoolVector, best_new: tuple[IntVector, FloatVector], places: int
) -> tuple[IntVector, FloatVector]:
    """The list with at least `places` new items, as far as there are any; the first place stays as it is."""
    further = ~np.isin(best_new[0], rows)
    replaceable = 1 + np.flatnonzero(~new[1:])
    count = max(0, min(places - int(new.sum()), int(further.sum()), len(replaceable)))
    if not count:
        return rows, scores
    given = np.zeros(len(rows), np.bool_)
    given[places_of(count, len(rows))] = True
    kept = np.ones(len(rows), np.bool_)
    kept[replaceable[-count:]] = False
    found, found_scores = rows.copy(), scores.copy()
    found[given], found_scores[given] = best_new[0][further][:count], best_new[1][further][:count]
    found[~given], found_scores[~given] = rows[kept], scores[kept]
    return found, found_scores


def places_of(count: int, n: int) -> IntVector:
    """Of a list of `n` the places from 0, each in the middle of one of `count` equal parts of all but the first."""
    middles: IntVector = 1 + (2 * np.arange(count) + 1) * (n - 1) // (2 * count)
    return middles
