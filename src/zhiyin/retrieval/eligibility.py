"""Which items a list may hold."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector
from zhiyin.core.catalog import Catalog

_NOBODY = np.empty(0, np.int64)


class Eligibility:
    """Answers for one catalogue; its categories are indexed once, so that a filter costs no pass over the items."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._members = _members(catalog.categories, np.arange(len(catalog)))
        self._open = _Open.at(catalog, 0)

    def changed(self, catalog: Catalog, rows: IntVector) -> Self:
        """Answers for `catalog`, which differs from the one before at `rows` and goes on behind its end."""
        before = self._catalog.categories
        known = rows[rows < len(before)]
        left, joined = _members(before[known], known), _members(catalog.categories[rows], rows)
        members = dict(self._members)
        for name in left.keys() | joined.keys():
            stay = np.setdiff1d(members.pop(name, _NOBODY), left.get(name, _NOBODY), assume_unique=True)
            if len(found := np.union1d(stay, joined.get(name, _NOBODY))):
                members[name] = found
        other = copy(self)
        other._catalog, other._members = catalog, members
        other._open = _Open.at(catalog, self._open.since)
        return other

    def categories(self) -> list[tuple[str, int]]:
        """Every category with its number of items, the largest first, then by name."""
        return sorted(((name, len(rows)) for name, rows in self._members.items()), key=lambda pair: (-pair[1], pair[0]))

    def lift(self, boosts: Mapping[str, float]) -> FloatVector | None:
        """(items,) the strengths of the categories that each is in, added up; None where nothing is lifted."""
        if not boosts:
            return None
        lift = np.zeros(len(self._catalog))
        for category, strength in boosts.items():
            lift[self._members.get(category, _NOBODY)] += strength
        return lift

    def mask(self, now: int, seen: IntVector, categories: Sequence[str] = ()) -> BoolVector:
        """(items,) true where an item is to be had at `now` (epoch ms), is not in `seen` (rows), and is in one of
        `categories`, where any are named; a category that no item has admits nothing."""
        there = self._open
        if not there.since <= now < there.until:
            there = self._open = _Open.at(self._catalog, now)
        mask: BoolVector = there.mask.copy()
        if categories:
            wanted = np.zeros(len(mask), np.bool_)
            for category in categories:
                wanted[self._members.get(category, _NOBODY)] = True
            mask &= wanted
        mask[seen] = False
        return mask


@dataclass(frozen=True, eq=False)
class _Open:
    """Which items are to be had from one moment until the next one comes in (epoch ms): (items,)"""

    mask: BoolVector
    since: int
    until: float

    @classmethod
    def at(cls, catalog: Catalog, now: int) -> "_Open":
        there = catalog.available_from <= now
        later = catalog.available_from[~there]
        return cls(catalog.available & there, now, float(later.min()) if len(later) else np.inf)


def _members(groups: Iterable[Sequence[str]], rows: IntVector) -> dict[str, IntVector]:
    """Category -> sorted rows of the items that are in it. groups: the categories of each of `rows`."""
    members: dict[str, list[int]] = {}
    for row, categories in zip(rows.tolist(), groups, strict=True):
        for category in categories:
            members.setdefault(category, []).append(row)
    return {name: np.unique(np.asarray(found, np.int64)) for name, found in members.items()}
