"""Which items a list may hold."""

from collections.abc import Sequence

import numpy as np

from zhiyin.core.arrays import BoolVector, IntVector
from zhiyin.core.catalog import Catalog


class Eligibility:
    """Answers for one catalogue; its categories are indexed once, so that a filter costs no pass over the items."""

    def __init__(self, catalog: Catalog) -> None:
        members: dict[str, list[int]] = {}
        for row, categories in enumerate(catalog.categories):
            for category in categories:
                members.setdefault(category, []).append(row)
        self._members = {name: np.unique(np.asarray(rows, np.int64)) for name, rows in members.items()}
        self._available = catalog.available
        self._available_from = catalog.available_from

    def categories(self) -> list[tuple[str, int]]:
        """Every category with its number of items, the largest first, then by name."""
        return sorted(((name, len(rows)) for name, rows in self._members.items()), key=lambda pair: (-pair[1], pair[0]))

    def mask(self, now: int, seen: IntVector, categories: Sequence[str] = ()) -> BoolVector:
        """(items,) true where an item is to be had at `now` (epoch ms), is not in `seen` (rows), and is in one of
        `categories`, where any are named; a category that no item has admits nothing."""
        mask = self._available & (self._available_from <= now)
        if categories:
            wanted = np.zeros(len(mask), np.bool_)
            for category in categories:
                wanted[self._members.get(category, np.empty(0, np.int64))] = True
            mask &= wanted
        mask[seen] = False
        return mask
