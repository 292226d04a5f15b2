"""What a running system answers: lists with reasons, the log of what was shown, and new events."""

import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from zhiyin.app.system import System
from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Query
from zhiyin.core.errors import InputError, NotFoundError
from zhiyin.core.events import AHEAD_MS, MAX_ID_LENGTH, MISSING_TIME, Events, text
from zhiyin.core.histories import History
from zhiyin.core.models import AdditiveModel, ItemDirections, Model, VectorModel
from zhiyin.core.results import Contributions, Reason, Recommendations, Recommended
from zhiyin.core.stores import AppendReport, CatalogStore, Impressions, Stores
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.histories import seen_mask
from zhiyin.dataset.prepare import overlay
from zhiyin.retrieval.eligibility import Eligibility
from zhiyin.retrieval.topn import top_n

PERSONAL, POPULAR = "personal", "popular"

SEEN_EVENTS = 20_000
"""Events read to know what a user has seen; more than a query carries, so that old favourites do not come back."""

BECAUSE_SHELVES = 2
BECAUSE_POOL = 400
"""Best-scored items among which "because" shelves look; exact shares over a whole large catalogue would be slow."""

SHELF_MINIMUM = 3


@dataclass(frozen=True)
class RecommendRequest:
    """One question. items: liked items of a visitor without history; those that the system does not know say nothing.

    keep_seen: seen items may come again. categories: only items in one of them; empty means all.
    """

    user_id: str
    n: int = 10
    categories: Sequence[str] = ()
    keep_seen: bool = False
    items: Sequence[str] = ()


@dataclass(frozen=True)
class ItemView:
    """What is known of one item; `title` falls back to the id."""

    item_id: str
    title: str
    description: str | None
    categories: tuple[str, ...]
    price: float | None


@dataclass(frozen=True)
class HistoryEntry:
    """One event of a user; timestamp is epoch ms, None where unknown."""

    item_id: str
    title: str
    event: str
    value: float | None
    timestamp: int | None


@dataclass(frozen=True)
class Shelf:
    """kind: "for-you", "because" (then `reason` names the event), "category" (then `category`), or "popular"."""

    kind: str
    recommendations: Recommendations
    reason: Reason | None = None
    category: str | None = None


@dataclass(frozen=True)
class Shelves:
    user_id: str
    shelves: tuple[Shelf, ...]


@dataclass(frozen=True)
class Problem:
    """One reason to refuse one row of a batch; rows count from 0."""

    row: int
    field: str
    reason: str


class EventsRefusedError(InputError):
    """A batch of events that was not recorded, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(
            f"{len(self.problems)} problem(s) in the events, nothing was recorded; "
            f"row {first.row}, {first.field}: {first.reason}"
        )


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
    def search_titles(self) -> list[str]:
        """(items,) titles as they are compared in a search."""
        return [_folded(title(self.catalog, row)) for row in range(len(self.catalog))]

    @cached_property
    def _newcomers(self) -> Vocabulary:
        return Vocabulary(self.newcomers.item_id)

    def view(self, row: int) -> ItemView:
        return _view(self.catalog, row)

    def describe(self, item_id: str) -> ItemView:
        """What is known of an item; of one that neither the system nor the shop knows, its id alone."""
        row, place = self.system.items.row(item_id), self._newcomers.row(item_id)
        if row != UNKNOWN:
            return self.view(row)
        return ItemView(item_id, item_id, None, (), None) if place == UNKNOWN else _view(self.newcomers, place)


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


@dataclass(frozen=True, eq=False)
class _Person:
    """A user as one request sees them: the log, the question, the rows that count as seen."""

    user_id: str
    events: Events
    query: Query
    seen: IntVector

    @property
    def rung(self) -> str:
        # A history of nothing but dislikes tells a model what to avoid, not what to offer.
        return PERSONAL if (self.query.history.weights > 0).any() else POPULAR


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Service:
    """Recommendations of one tenant. Safe to use from several threads where the stores are.

    clock: the time in epoch ms, for tests and replays.
    """

    def __init__(self, slot: ServingSlot | System, stores: Stores, clock: Callable[[], int] = now_ms) -> None:
        self.slot = ServingSlot(slot) if isinstance(slot, System) else slot
        self._stores = stores
        self.clock = clock
        self._current()

    @property
    def manifest_id(self) -> str:
        """The version that answers now."""
        return self.slot.state.system.manifest.manifest_id

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """A list for one user, logged as shown.

        An unknown user, or one with nothing liked yet, gets the popular list. Raises `InputError` for an id that
        cannot be one and for `n` below 1.
        """
        state = self._current()
        person = self._person(state, request.user_id, request.items)
        served = self._list(state, person, request)
        self._log([served], self.clock())
        return served

    def recommend_many(self, user_ids: Sequence[str], n: int = 10, keep_seen: bool = False) -> list[Recommendations]:
        """A list for each user, in the order of `user_ids`, each equal to what `recommend` answers.

        Users are scored one at a time: a product of larger matrices rounds differently, and lists that are asked
        for together would differ from single ones in their near ties.
        """
        state = self._current()
        served = [
            self._list(state, self._person(state, user_id), RecommendRequest(user_id, n, keep_seen=keep_seen))
            for user_id in user_ids
        ]
        self._log(served, self.clock())
        return served

    def shelves(self, user_id: str, n: int = 12, categories: Sequence[str] = ()) -> Shelves:
        """The page of one user: "for-you", "because" an item of the history (models with exact contributions only),
        the favourite category, "popular". A shelf that would hold fewer than three items is left out, and no item
        of "for-you" is shown again on a shelf below it, other than "popular".

        categories: narrow the first shelf, which then stays however little it holds; empty means all.
        """
        state = self._current()
        person = self._person(state, user_id)
        narrowed = RecommendRequest(user_id, n, categories)
        if person.rung == POPULAR:
            made = [Shelf("popular", self._popular(state, person, narrowed))]
        else:
            made = self._personal_shelves(state, person, narrowed)
        self._log([shelf.recommendations for shelf in made], self.clock())
        return Shelves(user_id, tuple(made))

    def _personal_shelves(self, state: ServingState, person: _Person, narrowed: RecommendRequest) -> list[Shelf]:
        user_id, n = person.user_id, narrowed.n
        if not narrowed.categories:
            # In a small catalogue the first shelf would otherwise leave nothing for the others.
            n = min(n, max(SHELF_MINIMUM, len(state.system.items) // 4))
        main = Shelf("for-you", self._list(state, person, replace(narrowed, n=n)))
        shown = {item.item_id for item in main.recommendations.items}
        below: list[Shelf] = []
        for shelf in self._because(state, person, n, shown):
            below.append(shelf)
            shown.update(item.item_id for item in shelf.recommendations.items)
        favourite = self._favourite_category(state, person)
        if favourite is not None:
            listed = self._list(state, person, RecommendRequest(user_id, n, (favourite,)), hidden=shown)
            below.append(Shelf("category", listed, category=favourite))
        popular = Shelf("popular", self._popular(state, person, RecommendRequest(user_id, n)))
        first = [main] if narrowed.categories or _worthwhile(main) else []
        return [*first, *filter(_worthwhile, below), popular]

    def record(self, events: Events) -> AppendReport:
        """Adds events to the log; all of them or, when a row cannot be used, none.

        One event of a far future would make all others old, so none may be later than now by more than a day. An item
        that the system does not know yet is kept for the next training. Raises `EventsRefusedError`, naming each row
        and field.
        """
        problems: list[Problem] = []
        latest = self.clock() + AHEAD_MS
        for row in range(len(events)):
            for name in ("user_id", "item_id", "event"):
                reason = _id_problem(getattr(events, name)[row])
                if reason:
                    problems.append(Problem(row, name, reason))
            for name in ("session_id", "event_id", "recommendation_id"):
                given = getattr(events, name)[row]
                reason = None if given is None else _id_problem(given)
                if reason:
                    problems.append(Problem(row, name, reason))
            if np.isinf(events.value[row]):
                problems.append(Problem(row, "value", "must be a finite number"))
            if events.timestamp[row] > latest:
                problems.append(Problem(row, "timestamp", "must not be later than now by more than a day"))
        if problems:
            raise EventsRefusedError(problems)
        return self._stores.events.append(events)

    def users(self, prefix: str = "", limit: int = 50) -> list[tuple[str, int]]:
        """Users of the log with their number of events, the most active first."""
        return self._stores.events.user_counts(limit, prefix)

    def history(self, user_id: str, limit: int = 50) -> list[HistoryEntry]:
        """The user's latest events, newest first; empty for an unknown user."""
        state = self._current()
        events = self._stores.events.history(_checked(user_id), limit)
        return [
            HistoryEntry(
                item_id=events.item_id[i],
                title=state.describe(events.item_id[i]).title,
                event=events.event[i],
                value=_number(events.value[i]),
                timestamp=None if events.timestamp[i] == MISSING_TIME else int(events.timestamp[i]),
            )
            for i in reversed(range(len(events)))
        ]

    def item(self, item_id: str) -> ItemView:
        """Raises `NotFoundError` for an item that the system does not know."""
        state = self._current()
        return state.view(self._row(state, item_id))

    def describe(self, item_id: str) -> ItemView:
        """Like `item`, but an item that the version serving now does not know is described as far as the shop does."""
        return self.slot.state.describe(item_id)

    def items(self, search: str = "", limit: int = 50) -> list[ItemView]:
        """Items whose title holds `search`, whatever the case, the most popular first."""
        state = self._current()
        wanted = _folded(search)
        titles = state.search_titles
        found = (int(row) for row in state.popular_order if wanted in titles[int(row)])
        return [state.view(row) for row, _ in zip(found, range(limit), strict=False)]

    def categories(self) -> list[tuple[str, int]]:
        """Every category with its number of items, the largest first."""
        return self._current().eligibility.categories()

    def similar(self, item_id: str, n: int = 10) -> list[tuple[ItemView, float]]:
        """Items near `item_id` with their nearness; empty where the model has no notion of it.

        A model with directions or vectors answers by their cosine, one with additive scores by what it would tell
        someone who knows this item alone.
        """
        state = self._current()
        row = self._row(state, item_id)
        model = state.system.model
        if isinstance(model, ItemDirections):
            scores = _cosines(model.item_directions(), row)
        elif isinstance(model, VectorModel):
            scores = _cosines(model.item_vectors(), row)
        elif isinstance(model, AdditiveModel):
            scores = model.score([Query(History.of_items([row]), self.clock())])[0]
        else:
            return []
        mask = state.eligibility.mask(self.clock(), np.asarray([row], np.int64))
        best = top_n(scores[None, :], n, mask)
        return [(state.view(int(r)), float(s)) for r, s in zip(best.rows[0], best.scores[0], strict=True) if r >= 0]

    def ready(self) -> bool:
        """Whether the store answers and the system can score."""
        self._stores.events.last_sequence()
        return len(self.slot.state.popular_order) > 0

    def close(self) -> None:
        """Closes the stores."""
        self._stores.close()

    def _current(self) -> ServingState:
        return self.slot.over(self._stores.catalog)

    def _row(self, state: ServingState, item_id: str) -> int:
        row = state.system.items.row(item_id)
        if row < 0:
            raise NotFoundError(f"no item {item_id!r} in the system that serves")
        return row

    def _person(self, state: ServingState, user_id: str, liked: Sequence[str] = ()) -> _Person:
        system, now = state.system, self.clock()
        log = self._stores.events.history(_checked(user_id), SEEN_EVENTS)
        if liked:
            told = Events.build(
                user_id=[user_id] * len(liked),
                item_id=[_checked(item_id, "item_id") for item_id in liked],
                event="like",
                timestamp=[now] * len(liked),
            )
            log = Events.concat([log, told])
        rows = system.items.rows(log.item_id)
        seen = np.unique(rows[seen_mask(log, system.settings) & (rows != UNKNOWN)])
        attributes = self._stores.users.attributes(user_id) if system.user_columns else {}
        return _Person(user_id, log, system.query(log, now, attributes), seen)

    def _list(
        self, state: ServingState, person: _Person, request: RecommendRequest, hidden: set[str] | None = None
    ) -> Recommendations:
        if person.rung == POPULAR:
            return self._popular(state, person, request)
        model = state.system.model
        rows, scores = self._best(state, model, person, request, hidden or set())
        return self._recommendations(state, person, (rows, scores), self._reasons(state, person, rows), PERSONAL)

    def _popular(self, state: ServingState, person: _Person, request: RecommendRequest) -> Recommendations:
        rows, scores = self._best(state, state.system.fallback, person, request, set())
        return self._recommendations(state, person, (rows, scores), [Reason("popular")] * len(rows), POPULAR)

    def _best(
        self, state: ServingState, model: Model, person: _Person, request: RecommendRequest, hidden: set[str]
    ) -> tuple[IntVector, FloatVector]:
        seen = np.empty(0, np.int64) if request.keep_seen else person.seen
        mask = state.eligibility.mask(person.query.now, seen, request.categories)
        mask[state.system.items.rows(sorted(hidden))] = False
        best = top_n(model.score([person.query]), request.n, mask)
        kept = best.rows[0] >= 0
        return best.rows[0][kept], best.scores[0][kept]

    def _reasons(self, state: ServingState, person: _Person, rows: IntVector) -> list[Reason]:
        model = state.system.model
        if not isinstance(model, AdditiveModel) or not len(rows):
            return [Reason("none")] * len(rows)
        parts = _by_item(model.contributions(person.query, rows), person.query.history)
        return [_reason(state, person, line, int(np.argmax(line))) for line in parts]

    def _because(self, state: ServingState, person: _Person, n: int, shown: set[str]) -> list[Shelf]:
        """Shelves around the events that carry most of this user's scores, each ranked by that event's part alone."""
        model = state.system.model
        if not isinstance(model, AdditiveModel):
            return []
        pool, _ = self._best(state, model, person, RecommendRequest(person.user_id, BECAUSE_POOL), shown)
        if not len(pool):
            return []
        parts = _by_item(model.contributions(person.query, pool), person.query.history)
        liked = person.query.history.weights > 0
        strength = np.where(liked, np.maximum(parts, 0).sum(axis=0), 0.0)
        shelves: list[Shelf] = []
        free = np.ones(len(pool), np.bool_)
        for position in np.argsort(-strength, kind="stable"):
            if len(shelves) == BECAUSE_SHELVES or strength[position] <= 0:
                break
            best = top_n(parts[None, :, position], n, free & (parts[:, position] > 0))
            places = best.rows[0][best.rows[0] >= 0]
            if len(places) < SHELF_MINIMUM:
                continue
            free[places] = False
            reasons = [_reason(state, person, parts[place], int(position)) for place in places]
            best_of_pool = pool[places], parts[places, position]
            listed = self._recommendations(state, person, best_of_pool, reasons, PERSONAL)
            shelves.append(Shelf("because", listed, reason=reasons[0]))
        return shelves

    def _favourite_category(self, state: ServingState, person: _Person) -> str | None:
        """The category with most of the user's liking; of equals the first by name."""
        history = person.query.history
        sums: dict[str, float] = {}
        for row, weight in zip(history.items, history.weights, strict=True):
            for category in state.catalog.categories[row]:
                sums[category] = sums.get(category, 0.0) + float(weight)
        liked = [(-total, name) for name, total in sums.items() if total > 0]
        return min(liked)[1] if liked else None

    def _recommendations(
        self,
        state: ServingState,
        person: _Person,
        best: tuple[IntVector, FloatVector],
        reasons: Sequence[Reason],
        rung: str,
    ) -> Recommendations:
        items = tuple(
            Recommended(state.system.items.ids[row], rank, float(score), reason)
            for rank, (row, score, reason) in enumerate(zip(*best, reasons, strict=True), start=1)
        )
        return Recommendations(person.user_id, items, rung, uuid.uuid4().hex, state.system.manifest.manifest_id)

    def _log(self, lists: Sequence[Recommendations], now: int) -> None:
        shown = [(served, item) for served in lists for item in served.items]
        if not shown:
            return
        self._stores.impressions.log(
            Impressions(
                recommendation_id=text(served.recommendation_id for served, _ in shown),
                user_id=text(served.user_id for served, _ in shown),
                item_id=text(item.item_id for _, item in shown),
                position=np.asarray([item.rank for _, item in shown], np.int64),
                score=np.asarray([item.score for _, item in shown], np.float64),
                propensity=np.asarray([item.propensity for _, item in shown], np.float64),
                rung=text(served.rung for served, _ in shown),
                manifest_id=text(served.manifest_id for served, _ in shown),
                timestamp=np.full(len(shown), now, np.int64),
            )
        )


def _worthwhile(shelf: Shelf) -> bool:
    return len(shelf.recommendations.items) >= SHELF_MINIMUM


def title(catalog: Catalog, row: int) -> str:
    """The title of the item at `row`, or its id where it has none."""
    return str(catalog.title[row] or catalog.item_id[row])


def _view(catalog: Catalog, row: int) -> ItemView:
    return ItemView(
        item_id=catalog.item_id[row],
        title=title(catalog, row),
        description=catalog.description[row],
        categories=catalog.categories[row],
        price=_number(catalog.price[row]),
    )


def _by_item(contributions: Contributions, history: History) -> np.ndarray:
    """Parts (items, events) with those of repeated events of one item added up at its latest event."""
    _, group = np.unique(history.items, return_inverse=True)
    latest = np.zeros(group.max() + 1, np.int64)
    latest[group] = np.arange(len(group))
    summed = np.zeros_like(contributions.parts)
    np.add.at(summed.T, latest[group], contributions.parts.T)
    return summed


def _reason(state: ServingState, person: _Person, line: FloatVector, position: int) -> Reason:
    """The event at `position` of the history as a reason, or none where its part of the score is not positive."""
    part, positive = float(line[position]), float(line[line > 0].sum())
    if part <= 0:
        return Reason("none")
    history = person.query.history
    rows = state.system.items.rows(person.events.item_id)
    same_item = rows == history.items[position]
    same_event = same_item & (person.events.timestamp == history.timestamps[position])
    # Preparation may give an event without a time another one, so the item alone has to do then.
    event = int(np.flatnonzero(same_event if same_event.any() else same_item)[-1])
    return Reason(
        kind="history",
        item_id=state.system.items.ids[history.items[position]],
        event=person.events.event[event],
        value=_number(history.ratings[position]),
        share=part / positive,
    )


def _id_problem(identifier: object) -> str | None:
    if not isinstance(identifier, str) or not identifier:
        return "must be text that is not empty"
    if len(identifier) > MAX_ID_LENGTH:
        return f"must be at most {MAX_ID_LENGTH} characters long"
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in identifier):
        return "must hold no control characters and no halves of surrogate pairs"
    return None


def _checked(identifier: str, name: str = "user_id") -> str:
    problem = _id_problem(identifier)
    if problem:
        raise InputError(f"{name} {identifier!r:.60} {problem}")
    return identifier


def _cosines(matrix: FloatMatrix, row: int) -> FloatVector:
    """(items,) of each row of `matrix` (items, dim) with one of them, 0 where either is zero."""
    vectors = np.asarray(matrix, np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines: FloatVector = vectors @ vectors[row] / np.maximum(lengths * lengths[row], np.finfo(np.float64).tiny)
    return cosines


def _folded(value: str) -> str:
    return unicodedata.normalize("NFKC", value).casefold()


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
