"""The API in the shape of Gorse, so that a shop which speaks it changes the address alone."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import Enum
from typing import Annotated, Literal, TypeAlias
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from zhiyin.app.service import ItemView, RecommendRequest, Service
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import NotFoundError
from zhiyin.core.events import MAX_ID_LENGTH, Events
from zhiyin.core.results import Recommendations
from zhiyin.core.stores import Cursor, Which
from zhiyin.web.access import check_may
from zhiyin.web.bodies import MAX_ROWS
from zhiyin.web.gorse_shapes import (
    FeedbackIn,
    FeedbackOut,
    FeedbackPage,
    ItemOut,
    ItemPage,
    ItemPatch,
    ItemShape,
    Score,
    Success,
    UserOut,
    UserPage,
    UserPatch,
    UserShape,
    VisitIn,
    catalog_of,
    events_of,
    feedback_of,
    items_of,
    patched_item,
    patched_person,
    people_of,
    users_of,
)
from zhiyin.web.metrics import Metrics
from zhiyin.web.schemas import NO_TEXT, ExternalId
from zhiyin.web.segments import SegmentRoute
from zhiyin.web.waiting import Answers

MAX_PAGE = 10_000
MAX_LENGTH = 500
"""Of a list; there, shops ask for hundreds and choose among them."""
MAX_OFFSET = 1_000
MAX_HISTORY = 20_000
SCORES = "2"
"""The version of the API whose lists tell scores, too."""

MAX_SESSION = 100
"""What a visitor did last, so many items of it."""

TAGS: list[str | Enum] = ["in the shape of Gorse"]

Id = Annotated[ExternalId, Path()]
Length = Annotated[int, Query(ge=1, le=MAX_LENGTH)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
PageLength = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Categories = Annotated[list[str], Query(alias="category", max_length=20, default_factory=list)]
Reader = Annotated[ExternalId | None, Query(alias="user-id")]
CategoryPath = Annotated[str, Path(max_length=200)]
Version = Annotated[str | None, Header(alias="X-API-Version")]
EventCursor = Annotated[str, Query(pattern=r"^\d{0,18}$")]
ItemCursor = Annotated[str, Query(max_length=MAX_ID_LENGTH, pattern=r"^[^\x00]*$")]
Words = Annotated[str, Query(max_length=200)]
CategoryName = Annotated[str, Path(min_length=1, max_length=200)]
Rows = Field(max_length=MAX_ROWS)


class ListQuery(BaseModel):
    """write_back_type: the kind of feedback as which the list is recorded at once, or after the delay (1h20m0s)."""

    model_config = ConfigDict(frozen=True)

    category: list[str] = Field(default=[], max_length=20)
    n: int = Field(default=10, ge=1, le=MAX_LENGTH)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    write_back_type: ExternalId | None = Field(default=None, alias="write-back-type", max_length=64)
    write_back_delay: str = Field(default="", alias="write-back-delay", pattern=r"^(\d{1,2}h)?(\d{1,3}m)?(\d{1,3}s)?$")


Listed: TypeAlias = list[Score] | list[str]


def add_gorse(api: APIRouter, service: Service, metrics: Metrics, answers: Answers) -> None:
    """Everything of the shape that is answered here."""
    shaped = APIRouter(route_class=SegmentRoute)
    _add_lists(shaped, service, metrics, answers)
    _add_feedback(shaped, service, metrics)
    _add_items(shaped, service)
    _add_users(shaped, service)
    api.include_router(shaped)


def _add_lists(api: APIRouter, service: Service, metrics: Metrics, answers: Answers) -> None:
    async def answer(
        http: Request, user_id: str, asked: ListQuery, version: str | None, further: Sequence[str] = ()
    ) -> Listed:
        if asked.write_back_type is not None:
            check_may(http, "ingest")
        request = RecommendRequest(user_id, asked.n, (*asked.category, *further), skip=asked.offset, explain=False)
        served = await answers.of(service.ask(request))
        metrics.served(service, served)
        if asked.write_back_type is not None and served.items:
            time = service.clock() + _milliseconds(asked.write_back_delay)
            events = _shown(served, asked.write_back_type, time)
            metrics.recorded(await run_in_threadpool(service.record, events), events, service.clock())
        if version == SCORES:
            return [Score(id=item.item_id, score=item.score) for item in served.items]
        return [item.item_id for item in served.items]

    @api.get("/api/recommend/{user_id}", tags=TAGS)
    async def recommended(
        http: Request, user_id: Id, asked: Annotated[ListQuery, Query()], version: Version = None
    ) -> Listed:
        """A list for one user: ids, and with the header X-API-Version: 2 their scores, too."""
        return await answer(http, user_id, asked, version)

    @api.get("/api/recommend/{user_id}/{category:path}", tags=TAGS)
    async def recommended_of(
        http: Request,
        user_id: Id,
        category: CategoryPath,
        asked: Annotated[ListQuery, Query()],
        version: Version = None,
    ) -> Listed:
        """A list for one user of items of one category."""
        return await answer(http, user_id, asked, version, [category] if category else [])

    @api.post("/api/session/recommend", tags=TAGS, responses=NO_TEXT)
    async def of_session(
        feedback: Annotated[list[VisitIn], Rows], category: Categories, n: Length = 10, offset: Offset = 0
    ) -> list[Score]:
        """A list for a visitor who is known by this feedback alone, which is not kept."""
        items = tuple(dict.fromkeys(each.item_id for each in feedback))[-MAX_SESSION:]
        visitor = f"session-{uuid4().hex}"
        request = RecommendRequest(visitor, n, tuple(category), items=items, skip=offset, explain=False)
        served = await answers.of(service.ask(request))
        metrics.served(service, served)
        return [Score(id=item.item_id, score=item.score) for item in served.items]

    @api.get("/api/popular", tags=TAGS)
    def popular(category: Categories, n: Length = 10, offset: Offset = 0, user_id: Reader = None) -> list[Score]:
        """What everybody likes; without what the user has seen, if one is named."""
        return _scores(service.everybody("popular", n + offset, category, user_id), offset)

    @api.get("/api/latest", tags=TAGS)
    def latest(category: Categories, n: Length = 10, offset: Offset = 0, user_id: Reader = None) -> list[Score]:
        """What came last; without what the user has seen, if one is named."""
        return _scores(service.everybody("latest", n + offset, category, user_id), offset)

    @api.get("/api/non-personalized/{name}", tags=TAGS)
    def not_personalized(
        name: Literal["popular", "latest"],
        category: Categories,
        n: Length = 10,
        offset: Offset = 0,
        user_id: Reader = None,
    ) -> list[Score]:
        """What is the same for everybody."""
        return _scores(service.everybody(name, n + offset, category, user_id), offset)

    @api.get("/api/item/{item_id}/neighbors", tags=TAGS)
    @api.get("/api/item/{item_id}/neighbors/", include_in_schema=False)
    def neighbors(item_id: Id, n: Length = 10, offset: Offset = 0) -> list[Score]:
        """Items near this one; none where the model has no notion of it, or has not met it."""
        try:
            return _scores(service.similar(item_id, n + offset), offset)
        except NotFoundError:
            return []


def _add_feedback(api: APIRouter, service: Service, metrics: Metrics) -> None:
    records = service.records

    @api.post("/api/feedback", tags=TAGS, responses=NO_TEXT)
    def insert(feedback: Annotated[list[FeedbackIn], Rows]) -> Success:
        """Adds feedback; one that is sent twice, with its time, is kept once."""
        events = events_of(feedback, service.clock())
        metrics.recorded(service.record(events), events, service.clock())
        return Success(row_affected=len(feedback))

    @api.put("/api/feedback", tags=TAGS, responses=NO_TEXT)
    def overwrite(feedback: Annotated[list[FeedbackIn], Rows]) -> Success:
        """Adds feedback in the place of what the same user gave of the same kind on the same item."""
        events = events_of(feedback, service.clock())
        metrics.recorded(records.replace_events(events), events, service.clock())
        return Success(row_affected=len(feedback))

    @api.get("/api/feedback", tags=TAGS)
    def listed(cursor: EventCursor = "", n: PageLength = 10) -> FeedbackPage:
        """All feedback in the order in which it came. A cursor that is empty is the end."""
        return _page(records.events(Which(), n, _place(cursor)), n)

    @api.get("/api/feedback/{feedback_type}", tags=TAGS)
    def listed_of(feedback_type: Id, cursor: EventCursor = "", n: PageLength = 10) -> FeedbackPage:
        """Feedback of one kind."""
        return _page(records.events(Which(event=feedback_type), n, _place(cursor)), n)

    @api.get("/api/feedback/{user_id}/{item_id}", tags=TAGS)
    def between(user_id: Id, item_id: Id) -> list[FeedbackOut]:
        """What one user gave on one item."""
        return feedback_of(records.events(Which(user_id, item_id), MAX_HISTORY))

    @api.delete("/api/feedback/{user_id}/{item_id}", tags=TAGS)
    def remove(user_id: Id, item_id: Id) -> Success:
        return Success(row_affected=records.remove_events(Which(user_id, item_id)))

    @api.get("/api/feedback/{feedback_type}/{user_id}/{item_id}", tags=TAGS)
    def one(feedback_type: Id, user_id: Id, item_id: Id) -> FeedbackOut:
        """The last that one user gave of one kind on one item."""
        found = feedback_of(records.events(Which(user_id, item_id, feedback_type), MAX_HISTORY))
        if not found:
            raise NotFoundError(f"no {feedback_type!r} of {user_id!r} on {item_id!r}")
        return found[-1]

    @api.delete("/api/feedback/{feedback_type}/{user_id}/{item_id}", tags=TAGS)
    def remove_one(feedback_type: Id, user_id: Id, item_id: Id) -> Success:
        return Success(row_affected=records.remove_events(Which(user_id, item_id, feedback_type)))

    @api.get("/api/user/{user_id}/feedback", tags=TAGS)
    def of_user(user_id: Id) -> list[FeedbackOut]:
        return feedback_of(records.events(Which(user_id), MAX_HISTORY))

    @api.get("/api/user/{user_id}/feedback/{feedback_type}", tags=TAGS)
    def of_user_and_kind(user_id: Id, feedback_type: Id) -> list[FeedbackOut]:
        return feedback_of(records.events(Which(user_id, event=feedback_type), MAX_HISTORY))

    @api.get("/api/item/{item_id}/feedback", tags=TAGS)
    @api.get("/api/item/{item_id}/feedback/", include_in_schema=False)
    def of_item(item_id: Id) -> list[FeedbackOut]:
        return feedback_of(records.events(Which(item_id=item_id), MAX_HISTORY))

    @api.get("/api/item/{item_id}/feedback/{feedback_type}", tags=TAGS)
    def of_item_and_kind(item_id: Id, feedback_type: Id) -> list[FeedbackOut]:
        return feedback_of(records.events(Which(item_id=item_id, event=feedback_type), MAX_HISTORY))


def _add_items(api: APIRouter, service: Service) -> None:
    records = service.records

    def with_categories(item_id: str, change: Callable[[Sequence[str]], list[str]]) -> Success:
        def changed(found: Catalog) -> Catalog:
            return patched_item(found, ItemPatch(categories=change(found.categories[0])))

        records.change_item(item_id, changed)
        return Success(row_affected=1)

    @api.post("/api/item", tags=TAGS, responses=NO_TEXT)
    def insert(item: ItemShape) -> Success:
        """Adds an item, or replaces it whole."""
        return Success(row_affected=service.add_items(catalog_of([item])).written)

    @api.post("/api/items", tags=TAGS, responses=NO_TEXT)
    def insert_many(items: Annotated[list[ItemShape], Rows]) -> Success:
        return Success(row_affected=service.add_items(catalog_of(items)).written)

    @api.get("/api/items", tags=TAGS)
    def listed(cursor: ItemCursor = "", n: PageLength = 10, q: Words = "") -> ItemPage:
        """All items in the order of their ids, or those that have words in their titles."""
        if q:
            found = [view.item_id for view in service.items(q, n)]
            items = {item.item_id: item for item in items_of(records.some_items(found))}
            return ItemPage(cursor="", items=[items[item_id] for item_id in found if item_id in items])
        page = items_of(records.items(cursor, n))
        return ItemPage(cursor=page[-1].item_id if len(page) == n else "", items=page)

    @api.get("/api/item/{item_id}", tags=TAGS)
    def one(item_id: Id) -> ItemOut:
        return items_of(records.item(item_id))[0]

    @api.patch("/api/item/{item_id}", tags=TAGS, responses=NO_TEXT)
    def change(item_id: Id, patch: ItemPatch) -> Success:
        """Changes what is given of an item."""
        records.change_item(item_id, lambda found: patched_item(found, patch))
        return Success(row_affected=1)

    @api.delete("/api/item/{item_id}", tags=TAGS)
    def remove(item_id: Id) -> Success:
        """Removes an item and all feedback on it."""
        return Success(row_affected=min(1, records.remove_item(item_id)))

    @api.put("/api/item/{item_id}/category/{category}", tags=TAGS)
    def add_category(item_id: Id, category: CategoryName) -> Success:
        return with_categories(item_id, lambda known: list(dict.fromkeys([*known, category])))

    @api.delete("/api/item/{item_id}/category/{category}", tags=TAGS)
    def remove_category(item_id: Id, category: CategoryName) -> Success:
        return with_categories(item_id, lambda known: [each for each in known if each != category])


def _add_users(api: APIRouter, service: Service) -> None:
    records = service.records

    @api.post("/api/user", tags=TAGS, responses=NO_TEXT)
    def insert(user: UserShape) -> Success:
        """Adds a user, or replaces what is known of one."""
        return Success(row_affected=records.write_people(people_of([user])))

    @api.post("/api/users", tags=TAGS, responses=NO_TEXT)
    def insert_many(users: Annotated[list[UserShape], Rows]) -> Success:
        return Success(row_affected=records.write_people(people_of(users)))

    @api.get("/api/users", tags=TAGS)
    def listed(cursor: ItemCursor = "", n: PageLength = 10) -> UserPage:
        """All users in the order of their ids, also those known by their feedback alone."""
        page = users_of(records.people(cursor, n))
        return UserPage(cursor=page[-1].user_id if len(page) == n else "", users=page)

    @api.get("/api/user/{user_id}", tags=TAGS)
    def one(user_id: Id) -> UserOut:
        return users_of(records.person(user_id))[0]

    @api.patch("/api/user/{user_id}", tags=TAGS, responses=NO_TEXT)
    def change(user_id: Id, patch: UserPatch) -> Success:
        """Changes what is given of a user."""
        records.change_person(user_id, lambda found: patched_person(found, patch))
        return Success(row_affected=1)

    @api.delete("/api/user/{user_id}", tags=TAGS)
    def remove(user_id: Id) -> Success:
        """Removes all that is kept of a user."""
        return Success(row_affected=min(1, records.remove_person(user_id)))


def _scores(found: Sequence[tuple[ItemView, float]], offset: int) -> list[Score]:
    return [Score(id=view.item_id, score=score) for view, score in found[offset:]]


def _page(events: Events, n: int) -> FeedbackPage:
    cursor = str(events.sequence[-1]) if len(events) == n else ""
    return FeedbackPage(cursor=cursor, feedback=feedback_of(events))


def _place(cursor: str) -> Cursor | None:
    return Cursor(int(cursor)) if cursor else None


def _shown(served: Recommendations, kind: str, time: int) -> Events:
    """The list as feedback of its user."""
    return Events.build(
        user_id=[served.user_id] * len(served.items),
        item_id=[item.item_id for item in served.items],
        event=kind,
        timestamp=[time] * len(served.items),
        recommendation_id=[served.recommendation_id] * len(served.items),
        position=[item.rank for item in served.items],
    )


def _milliseconds(duration: str) -> int:
    """Of hours, minutes and seconds as in 1h20m0s."""
    parts = {unit: int(number) for number, unit in re.findall(r"(\d+)([hms])", duration)}
    hours, minutes, seconds = (parts.get(unit, 0) for unit in "hms")
    return int(timedelta(hours=hours, minutes=minutes, seconds=seconds) / timedelta(milliseconds=1))
