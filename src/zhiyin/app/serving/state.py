"""The system that answers, over the shop as it stands."""

import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zhiyin.app.serving.views import ItemView, title
from zhiyin.app.system import System
from zhiyin.core.arrays import IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Query
from zhiyin.core.errors import NotFoundError
from zhiyin.core.histories import History
from zhiyin.core.stores import CatalogStore
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.prepare import overlay
from zhiyin.retrieval.eligibility import Eligibility


@dataclass(frozen=True, eq=False)
class ServingState:
    """A system over the shop as it stands, with what is derived from both once.

    A request reads one state and keeps it to its end. catalog: aligned with the system's items. newcomers: items of
    the shop that the system does not know. revision: of the store's catalogue; None where the store was not asked.
    """

    system: System
    catalog: Catalog
    newcomers: Catalog
    eligibility: Eligibility
    revision: int | None

    @classmethod
    def of(cls, system: System, shop: Catalog | None = None, revision: int | None = None) -> "ServingState":
        """Items that the shop does not describe stay as they were at training."""
        shop = shop if shop is not None else Catalog.build(item_id=[])
        catalog = overlay(system.catalog, shop)
        newcomers = shop.take(np.flatnonzero(system.items.rows(shop.item_id) == UNKNOWN))
        return cls(system, catalog, newcomers, Eligibility(catalog), revision)

    @cached_property
    def popular_order(self) -> IntVector:
        """(items,) rows, the most popular first."""
        nobody = Query(History.of_items([]), 0)
        return np.argsort(-self.system.fallback.score([nobody])[0], kind="stable")

    @cached_property
    def _search_titles(self) -> list[str]:
        return [_folded(title(self.catalog, row)) for row in range(len(self.catalog))]

    @cached_property
    def _newcomers(self) -> Vocabulary:
        return Vocabulary(self.newcomers.item_id)

    def row(self, item_id: str) -> int:
        """Raises `NotFoundError` for an item that the system does not know."""
        row = self.system.items.row(item_id)
        if row == UNKNOWN:
            raise NotFoundError(f"no item {item_id!r} in the system that serves")
        return row

    def view(self, row: int) -> ItemView:
        return ItemView.of(self.catalog, row)

    def describe(self, item_id: str) -> ItemView:
        """What is known of an item; of one that neither the system nor the shop knows, its id alone."""
        row, place = self.system.items.row(item_id), self._newcomers.row(item_id)
        if row != UNKNOWN:
            return self.view(row)
        return ItemView(item_id, item_id, None, (), None) if place == UNKNOWN else ItemView.of(self.newcomers, place)

    def found(self, search: str) -> Iterator[int]:
        """Rows of items whose title holds `search`, whatever the case, the most popular first."""
        wanted, titles = _folded(search), self._search_titles
        return (int(row) for row in self.popular_order if wanted in titles[int(row)])


class ServingSlot:
    """The system that answers now. A new version is prepared beside it and put in by one assignment."""

    def __init__(self, system: System) -> None:
        self._state = ServingState.of(system)
        self._changing = threading.Lock()

    @property
    def state(self) -> ServingState:
        return self._state

    def replace(self, system: System) -> None:
        state = ServingState.of(system)
        with self._changing:
            self._state = state

    def over(self, catalog: CatalogStore) -> ServingState:
        """The state over the shop as `catalog` has it now, read again only after a change."""
        state, revision = self._state, catalog.revision()
        if state.revision == revision:
            return state
        with self._changing:
            # Of two requests that come together, the second finds the work done. What changes between revision and
            # catalogue is read once more, never missed.
            state, revision = self._state, catalog.revision()
            if state.revision != revision:
                self._state = ServingState.of(state.system, catalog.read(), revision)
            return self._state


def _folded(value: str) -> str:
    return unicodedata.normalize("NFKC", value).casefold()
