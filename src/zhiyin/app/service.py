"""What a running system answers: lists with reasons, the log of what was shown, and new events."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zhiyin.app.access import Access
from zhiyin.app.clock import now_ms
from zhiyin.app.serving.batching import TOGETHER, Batcher
from zhiyin.app.serving.committer import Committer
from zhiyin.app.serving.everybody import latest_of, popular_of
from zhiyin.app.serving.exposure import SHARE, Exposure
from zhiyin.app.serving.found import Finder
from zhiyin.app.serving.judged import Judge, Judgement, LanguageModelSettings
from zhiyin.app.serving.ladder import Asked, lists_of, tried
from zhiyin.app.serving.lists import RecommendRequest
from zhiyin.app.serving.people import Person, people_of, person_of
from zhiyin.app.serving.recording import (
    EventsRefusedError,
    ItemsRefusedError,
    Problem,
    RowsRefusedError,
    checked_events,
    checked_id,
    checked_items,
)
from zhiyin.app.serving.records import Records
from zhiyin.app.serving.shelves import Shelf, Shelves, shelves_of
from zhiyin.app.serving.similar import similar_to
from zhiyin.app.serving.stages import LOG, PEOPLE, Stages
from zhiyin.app.serving.state import ServingSlot, ServingState
from zhiyin.app.serving.tastes import Language, edited, liking_of, taste_of
from zhiyin.app.serving.views import HistoryEntry, ItemView, number
from zhiyin.app.standby import STANDBY
from zhiyin.app.system import System
from zhiyin.app.words import WordsRequest
from zhiyin.core.catalog import Catalog
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.models import LanguageModel
from zhiyin.core.results import Recommendations
from zhiyin.core.stores import AppendReport, ShownList, Stores, Taste
from zhiyin.core.vocabulary import UNKNOWN

__all__ = [
    "SHARE",
    "Added",
    "EventsRefusedError",
    "HistoryEntry",
    "ItemView",
    "ItemsRefusedError",
    "Language",
    "LanguageModelSettings",
    "Problem",
    "RecommendRequest",
    "RowsRefusedError",
    "Service",
    "ServingSlot",
    "ServingState",
    "Shelf",
    "Shelves",
    "Taste",
    "WordsRequest",
    "now_ms",
]


ANSWERING = 32
"""Lists that wait for a language model at a time."""


@dataclass(frozen=True)
class Added:
    """written: items that are in the shop now. recommendable: those of them that the serving system can recommend."""

    written: int
    recommendable: int


class Service:
    """Recommendations of one tenant. Safe to use from several threads where the stores are.

    clock: the time in epoch ms, for tests and replays. language_model: judges the top of personal lists and describes
    tastes, as `judging` says; None leaves lists as the system ranks them. new_items: the share of a list's places, 0 to
    1, that items which training has not seen have though their scores earn fewer. committer: writes for several
    requests at a time, and logs lists a moment later; None writes for each, at once.
    """

    def __init__(
        self,
        slot: ServingSlot | System,
        stores: Stores,
        clock: Callable[[], int] = now_ms,
        language_model: LanguageModel | None = None,
        judging: LanguageModelSettings | None = None,
        *,
        new_items: float = SHARE,
        committer: Committer | None = None,
    ) -> None:
        self.slot = ServingSlot(slot) if isinstance(slot, System) else slot
        self._stores = stores
        self.clock = clock
        self.access = Access(stores.keys, clock)
        self.stages = Stages()
        # Who waits for a language model leaves the interpreter to others.
        waits: dict[str, Any] = (
            {} if language_model is None else {"together": 1, "patience_s": 0.0, "threads": ANSWERING}
        )
        self._batcher = Batcher(self._lists, **waits)
        self.records = Records(stores, clock, committer, self._batcher.settle)
        self._finder = Finder()
        self._new_items = new_items
        self._committer = committer
        self._language_model = language_model
        self._judge = None if language_model is None else Judge(language_model, judging or LanguageModelSettings())
        self._current()

    @property
    def manifest_id(self) -> str:
        """The version that answers now."""
        return self.slot.state.system.manifest.manifest_id

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """A list for one user, logged as shown.

        Its rung tells where it comes from: what the log tells that they like ("personal"), else what this request does
        ("session"), else their own words ("words"), else what people like who share their attributes ("profile"), else
        what everybody likes ("popular"). Raises `InputError` for an id that cannot be one and for `n` below 1.
        """
        return _answered(self._lists([request])[0])

    def ask(self, request: RecommendRequest) -> Future[Recommendations]:
        """As `recommend`, made together with what others ask for at the same time."""
        return self._batcher.ask(request)

    def recommend_many(self, user_ids: Sequence[str], n: int = 10, keep_seen: bool = False) -> list[Recommendations]:
        """A list for each user, in the order of `user_ids`, each equal to what `recommend` answers."""
        lists: list[Recommendations] = []
        for start in range(0, len(user_ids), TOGETHER):
            some = [RecommendRequest(each, n, keep_seen=keep_seen) for each in user_ids[start : start + TOGETHER]]
            lists += map(_answered, self._made(some))
        self._log(lists)
        return lists

    def shelves(self, user_id: str, n: int = 12, categories: Sequence[str] = ()) -> Shelves:
        """The page of one user: "for-you", "because" an item of the history (models with exact contributions only),
        the favourite category, "popular". A shelf that would hold fewer than three items is left out, and no item
        of "for-you" is shown again on a shelf below it, other than "popular".

        categories: narrow the first shelf, which then stays however little it holds; empty means all.
        """
        state = self._current()
        person = person_of(user_id, state, self._stores, self.clock())
        answer = shelves_of(self._asked(state, person, RecommendRequest(user_id, n, categories)))
        self._log([shelf.recommendations for shelf in answer.shelves])
        return answer

    def record(self, events: Events) -> AppendReport:
        """Adds events to the log; all of them or, when a row cannot be used, none.

        An item that the system does not know is kept for the next training. Raises `EventsRefusedError`, naming
        each row and field.
        """
        checked = checked_events(events, self.clock())
        return self._stores.events.append(checked) if self._committer is None else self._committer.append(checked)

    def add_items(self, catalog: Catalog) -> Added:
        """Adds items to the shop, or replaces them whole; all or, when a row cannot be used, none.

        When it returns, lists may hold every item that the model can go on with. Raises `ItemsRefusedError`, naming
        each row and field.
        """
        items = checked_items(catalog)
        self._stores.catalog.upsert(items)
        state = self.slot.over(self._stores.catalog, waiting=True)
        return Added(len(items), int((state.items.rows(items.item_id) != UNKNOWN).sum()))

    def everybody(
        self, kind: Literal["popular", "latest"], n: int, categories: Sequence[str] = (), user_id: str | None = None
    ) -> list[tuple[ItemView, float]]:
        """What is popular, or came last, the same for everybody; not logged as shown.

        user_id: leaves out what they have seen.
        """
        state, now = self._current(), self.clock()
        seen = np.empty(0, np.int64) if user_id is None else person_of(user_id, state, self._stores, now).seen
        mask = state.eligibility.mask(now, seen, categories)
        return popular_of(state, mask, n, now) if kind == "popular" else latest_of(state, mask, n)

    def new_items(self) -> tuple[int, int]:
        """How many items of the shop training has not seen: those that can be recommended, and those that cannot."""
        state = self._current()
        return int(state.new.sum()), len(state.waiting)

    def encoded(self) -> int:
        """How many texts, images and sounds of new items were given to encoders since the version that serves began."""
        return self.slot.state.reader.encoded

    def indexed(self) -> tuple[int, float | None]:
        """How many items are found by an index, and the share of the best that it finds, as far as that is known."""
        index = self.slot.state.index
        return (0, None) if index is None else (index.n_items, index.recall())

    def new_places(self, served: Recommendations) -> int:
        """How many places of a list hold items that training has not seen."""
        state = self.slot.state
        if not state.has_new:
            return 0
        return int(state.is_new(state.items.rows([item.item_id for item in served.items])).sum())

    def users(self, prefix: str = "", limit: int = 50) -> list[tuple[str, int]]:
        """Users of the log with their number of events, the most active first."""
        return self._stores.events.user_counts(limit, prefix)

    def history(self, user_id: str, limit: int = 50) -> list[HistoryEntry]:
        """The user's latest events, newest first; empty for an unknown user."""
        state = self._current()
        events = self._stores.events.history(checked_id(user_id), limit)
        return [
            HistoryEntry(
                item_id=events.item_id[i],
                title=state.describe(events.item_id[i]).title,
                event=events.event[i],
                value=number(events.value[i]),
                timestamp=None if events.timestamp[i] == MISSING_TIME else int(events.timestamp[i]),
            )
            for i in reversed(range(len(events)))
        ]

    def item(self, item_id: str) -> ItemView:
        """Raises `NotFoundError` for an item that the system does not know."""
        state = self._current()
        return state.view(state.row(item_id))

    def describe(self, item_id: str) -> ItemView:
        """Like `item`, but an item that the version serving now does not know is described as far as the shop does."""
        return self.slot.state.describe(item_id)

    def items(self, search: str = "", limit: int = 50) -> list[ItemView]:
        """Items whose title holds `search`, whatever the case, the most popular first."""
        state = self._current()
        return [state.view(row) for row, _ in zip(state.found(search), range(limit), strict=False)]

    def categories(self) -> list[tuple[str, int]]:
        """Every category with its number of items, the largest first."""
        return self._current().eligibility.categories()

    def similar(self, item_id: str, n: int = 10) -> list[tuple[ItemView, float]]:
        """Items near `item_id` with their nearness; empty where the model has no notion of it.

        A model with directions or vectors answers by their cosine, one with additive scores by what it would tell
        someone who knows this item alone.
        """
        state = self._current()
        return similar_to(state, state.row(item_id), n, self.clock())

    def find(self, request: WordsRequest, user_id: str | None = None) -> list[tuple[ItemView, float]]:
        """Items by words in Chinese or English, with their scores, the best first; not logged as shown.

        user_id: leaves out what they have seen and blends in their own scores. Raises `ConfigError` where the system
        was trained without an encoder of text, `InputError` where nothing is asked for, `NotFoundError` for an unknown
        item.
        """
        state, now = self._current(), self.clock()
        person = None if user_id is None else person_of(user_id, state, self._stores, now)
        return self._finder.find(state, person, request, now)

    def taste(self, user_id: str, language: Language = "en") -> Taste | None:
        """What the user likes, in their own words, else in those of the language model; None where there are none."""
        state = self._current()
        person = person_of(user_id, state, self._stores, self.clock())
        return taste_of(state, person, self._stores.tastes, self._language_model, language)

    def edit_taste(self, user_id: str, text: str) -> Taste:
        """Keeps the user's own words, which nothing generated replaces. Raises `InputError` for words that are none."""
        return self._stores.tastes.write(checked_id(user_id), edited(text))

    def clear_taste(self, user_id: str) -> None:
        """Forgets the description; another may be generated when it is next asked for."""
        self._stores.tastes.clear(checked_id(user_id))

    def refused(self) -> str | None:
        """Why the version that was published last does not serve; None where it does."""
        return self.slot.refused

    def problem(self) -> str | None:
        """Why it should not be asked now; None where the store answers and a trained system can score."""
        self._stores.catalog.revision()
        if self.manifest_id == STANDBY:
            return "no trained system can be loaded; what is popular is served in its place"
        return None if len(self.slot.state.popular_order) else "the system that serves holds no items"

    def close(self) -> None:
        """Closes the stores, when all that was asked is answered."""
        self._batcher.close()
        if self._judge is not None:
            self._judge.close()
        if self._committer is not None:
            self._committer.close()
        self._stores.close()

    def _lists(self, requests: Sequence[RecommendRequest]) -> list[Recommendations | Exception]:
        """A list for each of them, or why there is none, logged at once."""
        lists = self._made(requests)
        self._log([served for served in lists if isinstance(served, Recommendations)])
        return lists

    def _made(self, requests: Sequence[RecommendRequest]) -> list[Recommendations | Exception]:
        """A list for each of them, or why there is none, by one state and scored together.

        A product of larger matrices rounds differently: items that differ by nothing but that may change places.
        """
        state = self._current()
        wrong = [tried(_checked, request) for request in requests]
        right = [request for request, error in zip(requests, wrong, strict=True) if error is None]
        asking = [(request.user_id, request.items) for request in right]
        with self.stages.of(PEOPLE):
            people = iter(people_of(asking, state, self._stores, self.clock()))
        asked = [
            tried(self._asked, state, next(people), request) if error is None else error
            for request, error in zip(requests, wrong, strict=True)
        ]
        lists = iter(lists_of(state, [each for each in asked if isinstance(each, Asked)], self.stages))
        return [next(lists) if isinstance(each, Asked) else each for each in asked]

    def _asked(self, state: ServingState, person: Person, request: RecommendRequest) -> Asked:
        return Asked(
            state,
            person,
            request,
            self._stores.tastes,
            self._finder,
            self._judgement(state, person),
            self._exposure(person),
        )

    def _exposure(self, person: Person) -> Exposure:
        return Exposure.of(self._new_items, person.user_id, person.query.now)

    def _judgement(self, state: ServingState, person: Person) -> Judgement | None:
        return None if self._judge is None else Judgement(self._judge, liking_of(state, person, self._stores.tastes))

    def _current(self) -> ServingState:
        return self.slot.over(self._stores.catalog)

    def _log(self, lists: Sequence[Recommendations]) -> None:
        now = self.clock()
        shown = [ShownList(served, now) for served in lists if served.items]
        if not shown:
            return
        with self.stages.of(LOG):
            if self._committer is None:
                self._stores.impressions.log(shown)
            else:
                self._committer.log(shown)


def _checked(request: RecommendRequest) -> None:
    """Raises `InputError` for ids that cannot be any."""
    checked_id(request.user_id)
    for item_id in request.items:
        checked_id(item_id, "item_id")


def _answered(served: Recommendations | Exception) -> Recommendations:
    if isinstance(served, Exception):
        raise served
    return served
