"""The system that answers, over the shop as it stands."""

import logging
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from zhiyin.app.prepare import contents_of
from zhiyin.app.serving.reading import Reader
from zhiyin.app.serving.views import ItemView, title
from zhiyin.app.system import System
from zhiyin.core.arrays import BoolVector, FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Query
from zhiyin.core.errors import NotFoundError, ZhiyinError
from zhiyin.core.histories import History
from zhiyin.core.models import AdditiveModel, InductiveModel, Model, VectorModel
from zhiyin.core.stores import CatalogStore
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.retrieval.eligibility import Eligibility
from zhiyin.retrieval.vector_index import VectorIndex

LOG = logging.getLogger(__name__)

INDEXES = "indexes"
"""The folder, beside the versions, of indexes of their items."""

HALF_WRITTEN_S = 3600
"""After which nobody writes an index any more."""

SAMPLED, SAMPLED_LIKES = 32, 20
"""Queries by which an index is tried, and items that they like at most."""

VIEWS_KEPT = 10_000
"""Items as they are shown, those that were shown last: lists show few of a catalogue again and again."""


@dataclass(frozen=True, eq=False)
class ServingState:
    """A system over the shop as it stands, with what is derived from both once.

    A request reads one state and keeps it to its end. items: the system's and, in the rows behind them, those that
    came after its training, first come first; catalog, eligibility and the scores of model and fallback are aligned
    with them. waiting: items of the shop that the model cannot go on with. revision: of the store's catalogue; None
    where the store was not asked. index: of the system's items, where there are too many to look at each.

    An item that training has seen is scored as it was then, whatever the shop says of it now; a later one is read anew.
    """

    system: System
    items: Vocabulary
    catalog: Catalog
    model: Model
    fallback: Model
    eligibility: Eligibility
    waiting: Catalog
    reader: Reader
    revision: int | None = None
    index: VectorIndex | None = None

    @classmethod
    def of(cls, system: System) -> "ServingState":
        """The system as it was trained, over nothing else. An index takes a minute or so to make."""
        return cls(
            system=system,
            items=system.items,
            catalog=system.catalog,
            model=system.model,
            fallback=system.fallback,
            eligibility=Eligibility(system.catalog),
            waiting=Catalog.build(item_id=[]),
            reader=Reader(system),
            index=_index_of(system),
        )

    def after(self, changes: Catalog, revision: int) -> "ServingState":
        """The state once the shop has written `changes`. What it costs in Python goes with them, not with the shop."""
        known = self.items.rows(changes.item_id)
        written = changes.take(np.flatnonzero(known != UNKNOWN))
        rows = known[known != UNKNOWN]
        catalog = self.catalog.written(rows, written)
        state = replace(self, catalog=catalog, eligibility=self.eligibility.changed(catalog, rows), revision=revision)
        return state._read_again(self.catalog, rows)._with(self._waiting_after(changes, known))

    def is_new(self, rows: IntVector) -> BoolVector:
        """(n,) which of `rows` hold items that training has not seen."""
        new: BoolVector = rows >= len(self.system.items)
        return new

    @property
    def has_new(self) -> bool:
        return len(self.items) > len(self.system.items)

    @cached_property
    def new(self) -> BoolVector:
        """(items,) which of them training has not seen."""
        return self.is_new(np.arange(len(self.items)))

    @cached_property
    def alike(self) -> bool:
        """Whether everybody is told the same, what is popular."""
        return self.model.name == self.fallback.name

    @cached_property
    def explains(self) -> bool:
        """Whether the model tells why, event by event."""
        return isinstance(self.model, AdditiveModel)

    @cached_property
    def popular_order(self) -> IntVector:
        """(items,) rows, the most popular first."""
        nobody = Query(History.of_items([]), 0)
        return np.argsort(-self.fallback.score([nobody])[0], kind="stable")

    @cached_property
    def _search_titles(self) -> list[str]:
        return [_folded(title(self.catalog, row)) for row in range(len(self.catalog))]

    @cached_property
    def _waiting_rows(self) -> Vocabulary:
        return Vocabulary(self.waiting.item_id)

    def row(self, item_id: str) -> int:
        """Raises `NotFoundError` for an item that the system does not know, or that the shop took away."""
        row = self.items.row(item_id)
        if row == UNKNOWN or self._is_gone(row):
            raise NotFoundError(f"no item {item_id!r} in the system that serves")
        return row

    def known_rows(self, item_ids: Sequence[str]) -> IntVector:
        """Of those items that the system knows."""
        rows = self.items.rows(item_ids)
        known: IntVector = rows[rows != UNKNOWN]
        return known

    @cached_property
    def view(self) -> Callable[[int], ItemView]:
        """The item at a row as it is shown."""
        return lru_cache(VIEWS_KEPT)(partial(ItemView.of, self.catalog))

    @cached_property
    def describe(self) -> Callable[[str], ItemView]:
        """What is known of an item by its id; of one that neither the system nor the shop knows, its id alone."""
        return lru_cache(VIEWS_KEPT)(partial(_described, self.items, self.view, self._waiting_rows, self.waiting))

    def found(self, search: str) -> Iterator[int]:
        """Rows of items whose title holds `search`, whatever the case, the most popular first."""
        wanted, titles = _folded(search), self._search_titles
        rows = (int(row) for row in self.popular_order)
        return (row for row in rows if wanted in titles[row] and not self._is_gone(row))

    def _is_gone(self, row: int) -> bool:
        """Whether the shop took the item away: it is not to be had, and nothing is told of it any more."""
        shop = self.catalog
        told = shop.title[row] or shop.description[row] or shop.categories[row]
        return not shop.available[row] and not told

    def _waiting_after(self, changes: Catalog, known: IntVector) -> Catalog:
        """Items to go on with: those that waited before, and those of `changes` that are at no `known` row."""
        arrived = changes.take(np.flatnonzero(known == UNKNOWN))
        places = self._waiting_rows.rows(arrived.item_id)
        places[places == UNKNOWN] = len(self.waiting) + np.arange((places == UNKNOWN).sum())
        return self.waiting.written(places, arrived)

    def _read_again(self, before: Catalog, rows: IntVector) -> "ServingState":
        """With those of the items at `rows` that training has not seen, and that were other `before`, read anew."""
        later = rows[rows >= len(self.system.items)]
        if contents_of(before.take(later)) == contents_of(self.catalog.take(later)):
            return self
        arrived = self.catalog.take(np.arange(len(self.system.items), len(self.items)))
        extended = self._extended(self.system.model, self.system.fallback, arrived)
        return self if extended is None else replace(self, model=extended[0], fallback=extended[1])

    def _with(self, waiting: Catalog) -> "ServingState":
        """Going on with the items `waiting` where the system can, else with them set aside."""
        extended = self._extended(self.model, self.fallback, waiting) if len(waiting) else None
        if extended is None:
            return replace(self, waiting=waiting)
        rows = np.arange(len(self.items), len(self.items) + len(waiting))
        catalog = self.catalog.written(rows, waiting)
        return replace(
            self,
            items=self.items.extended(waiting.item_id),
            catalog=catalog,
            model=extended[0],
            fallback=extended[1],
            eligibility=self.eligibility.changed(catalog, rows),
            waiting=waiting.take(np.empty(0, np.int64)),
        )

    def _extended(self, model: Model, fallback: Model, arrived: Catalog) -> tuple[Model, Model] | None:
        """Both over the items `arrived`, too; None where they cannot go on with them."""
        if not isinstance(model, InductiveModel) or not isinstance(fallback, InductiveModel):
            return None
        content = self.reader.content(arrived)
        try:
            return model.extended(arrived, content), fallback.extended(arrived, content)
        except ZhiyinError as error:
            LOG.warning("%d new items cannot be recommended yet: %s", len(arrived), error)
            return None


class ServingSlot:
    """The system that answers now. A new version is prepared beside it and put in by one assignment."""

    def __init__(self, system: System) -> None:
        self._state = ServingState.of(system)
        self._changing = threading.Lock()
        self._shop: CatalogStore | None = None
        self.refused: str | None = None
        """Why the version that was published last does not serve; None where it does."""

    @property
    def state(self) -> ServingState:
        return self._state

    def replace(self, system: System) -> None:
        """Goes on with `system`, over the shop that was asked for before."""
        state = ServingState.of(system)
        if self._shop is not None:
            state = state.after(*self._shop.changes(None))
        with self._changing:
            self._state = state

    def over(self, catalog: CatalogStore, *, waiting: bool = False) -> ServingState:
        """The state over the shop as `catalog` has it, brought up to date by what changed.

        The first request that finds a change brings it in, while others are answered by the state before it. waiting:
        not to be, as who made the change is not, and as nobody is who comes before the shop was ever read.
        """
        self._shop = catalog
        state = self._state
        if state.revision == catalog.revision():
            return state
        if not self._changing.acquire(blocking=waiting or state.revision is None):
            return state
        try:
            # Of two that wait together, the second finds the work done.
            if self._state.revision != catalog.revision():
                self._state = self._state.after(*catalog.changes(self._state.revision))
            return self._state
        finally:
            self._changing.release()


def _index_of(system: System) -> VectorIndex | None:
    """None, too, where it cannot be made: each item is looked at then."""
    kept = None
    if system.vectors is not None:
        folder = system.vectors.with_name(INDEXES)
        kept = folder / f"{system.manifest.manifest_id}.faiss"
        _clean(folder, system.vectors.parent)
    model = system.model
    if not isinstance(model, VectorModel):
        return None

    def sample() -> FloatMatrix:
        """What is asked of people who like items drawn at random."""
        generator, n_items = np.random.default_rng(0), len(system.items)
        lengths = generator.integers(1, SAMPLED_LIKES, SAMPLED, endpoint=True)
        likes = [generator.integers(n_items, size=length) for length in lengths]
        return model.query_vectors([Query(History.of_items(each), 0) for each in likes])

    try:
        return VectorIndex.over(model.item_vectors(), sample, kept)
    except (OSError, RuntimeError, MemoryError) as error:
        LOG.warning("there is no index, each item is looked at for every list: %s", error)
        return None


def _clean(folder: Path, versions: Path) -> None:
    """Takes away indexes of versions that are gone, and what a killed process left half written."""
    for old in folder.glob("*.faiss*"):
        with suppress(OSError):
            half = old.suffix not in {".faiss", ".json"} and time.time() - old.stat().st_mtime > HALF_WRITTEN_S
            if half or not (versions / old.name.partition(".")[0]).is_dir():
                old.unlink()


def _described(
    items: Vocabulary, view: Callable[[int], ItemView], waiting_rows: Vocabulary, waiting: Catalog, item_id: str
) -> ItemView:
    if (row := items.row(item_id)) != UNKNOWN:
        return view(row)
    place = waiting_rows.row(item_id)
    return ItemView(item_id, item_id, None, (), None) if place == UNKNOWN else ItemView.of(waiting, place)


def _folded(value: str) -> str:
    return unicodedata.normalize("NFKC", value).casefold()
