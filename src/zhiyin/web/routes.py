"""The questions that the API answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from zhiyin.app.access import Access
from zhiyin.app.service import Language, RecommendRequest, Service, WordsRequest
from zhiyin.core.events import MAX_ID_LENGTH
from zhiyin.web.access import check_own, own_ids
from zhiyin.web.answers import answered, entry_out, found_out, item_out, list_told, shelf_told, taste_out
from zhiyin.web.bodies import MAX_ROWS, read_events, read_items
from zhiyin.web.direct import DirectRoute
from zhiyin.web.errors import RefusalError
from zhiyin.web.metrics import Metrics
from zhiyin.web.paging import cursor_of, shown_before
from zhiyin.web.schemas import (
    MAX_LIST,
    NO_TEXT,
    AddedOut,
    CategoriesOut,
    CategoryOut,
    EventIn,
    ExternalId,
    FindIn,
    FoundListOut,
    HistoryOut,
    ItemIn,
    ItemOut,
    ItemsOut,
    KeyOut,
    RecommendationsOut,
    RecommendQuery,
    RecordedOut,
    ShelvesOut,
    SimilarListOut,
    SimilarOut,
    StateOut,
    Strict,
    TasteIn,
    TasteOut,
    UserOut,
    UsersOut,
)
from zhiyin.web.waiting import Answers

MAX_MINUTES = 1440


def add_people(api: APIRouter, service: Service, metrics: Metrics, answers: Answers) -> None:
    async def recommend(user_id: ExternalId, asked: Annotated[RecommendQuery, Query()]) -> Response:
        """A list for one user."""
        before = shown_before(asked.cursor) if asked.cursor else []
        request = RecommendRequest(
            user_id,
            asked.n,
            asked.category,
            keep_seen=asked.keep_seen,
            items=asked.item,
            exclude=(*asked.exclude, *before),
            behind=len(before),
            boosts={name: float(strength) for name, _, strength in (each.rpartition(":") for each in asked.boost)},
            explain=asked.explain,
        )
        served = await answers.of(service.ask(request))
        metrics.served(service, served)
        shown = [*before, *(line.item_id for line in served.items)]
        return answered(list_told(service, served, cursor_of(shown) if len(served.items) == asked.n else None))

    path = "/api/v1/recommend/{user_id:path}"
    api.add_api_route(path, recommend, response_model=RecommendationsOut, route_class_override=DirectRoute)

    @api.get("/api/v1/shelves/{user_id:path}", response_model=ShelvesOut)
    def shelves(
        user_id: ExternalId,
        category: Annotated[list[str], Query(max_length=20, default_factory=list)],
        n: Annotated[int, Query(ge=1, le=50)] = 12,
    ) -> Response:
        """The shelves of one user's page. `category`: the first shelf holds nothing else."""
        answer = service.shelves(user_id, n, tuple(category))
        for shelf in answer.shelves:
            metrics.served(service, shelf.recommendations)
        return answered({"user_id": user_id, "shelves": [shelf_told(service, shelf) for shelf in answer.shelves]})

    @api.get("/api/v1/users")
    def users(
        prefix: Annotated[str, Query(max_length=MAX_ID_LENGTH, pattern=r"^[^\x00]*$")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> UsersOut:
        """Known users, the most active first."""
        known = service.users(prefix, limit)
        return UsersOut(users=[UserOut(user_id=user_id, events=events) for user_id, events in known])

    @api.get("/api/v1/users/{user_id:path}/history")
    def history(user_id: ExternalId, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> HistoryOut:
        """The user's latest events, newest first."""
        return HistoryOut(user_id=user_id, events=[entry_out(entry) for entry in service.history(user_id, limit)])


def add_tastes(api: APIRouter, service: Service) -> None:
    path = "/api/v1/users/{user_id:path}/taste"

    @api.get(path)
    def taste(user_id: ExternalId, language: Language = "en") -> TasteOut:
        """What the user likes: in their own words, else in those of a language model, if one is asked."""
        return taste_out(user_id, service.taste(user_id, language))

    @api.put(path, responses=NO_TEXT)
    def edit(user_id: ExternalId, said: TasteIn) -> TasteOut:
        """Keeps the user's own words in place of what was generated."""
        return taste_out(user_id, service.edit_taste(user_id, said.text))

    @api.delete(path)
    def clear(user_id: ExternalId) -> TasteOut:
        """Forgets the description; another may be generated when it is next asked for."""
        service.clear_taste(user_id)
        return taste_out(user_id, None)


def add_items(api: APIRouter, service: Service) -> None:
    @api.get("/api/v1/items")
    def items(
        search: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> ItemsOut:
        """Items whose title holds `search`, the most popular first."""
        return ItemsOut(items=[item_out(item) for item in service.items(search, limit)])

    @api.get("/api/v1/items/{item_id:path}")
    def item(item_id: ExternalId) -> ItemOut:
        return item_out(service.item(item_id))

    @api.get("/api/v1/similar/{item_id:path}")
    def similar(item_id: ExternalId, n: Annotated[int, Query(ge=1, le=MAX_LIST)] = 10) -> SimilarListOut:
        """Items near this one; empty where the model has no notion of nearness."""
        near = service.similar(item_id, n)
        return SimilarListOut(items=[SimilarOut(item=item_out(view), score=score) for view, score in near])

    @api.post("/api/v1/find", responses=NO_TEXT)
    def find(asked: FindIn, http: Request) -> FoundListOut:
        """Items by words in Chinese or English, the best first."""
        check_own(http, [] if asked.user_id is None else [asked.user_id])
        request = WordsRequest(asked.text, asked.like, asked.unlike, asked.categories, asked.n)
        return found_out(service.find(request, asked.user_id))

    @api.get("/api/v1/categories")
    def categories() -> CategoriesOut:
        """Categories, the largest first."""
        return CategoriesOut(categories=[CategoryOut(name=name, items=n) for name, n in service.categories()])


def add_events(api: APIRouter, service: Service, metrics: Metrics) -> None:
    @api.post("/api/v1/events", openapi_extra=_rows_of(EventIn))
    async def events(request: Request) -> RecordedOut:
        """Records one event or a list of them: all, or none when a row is wrong."""
        batch = read_events(request.headers.get("content-type", ""), await request.body(), service.clock())
        check_own(request, batch.user_id)
        batch = own_ids(request, batch)
        report = await run_in_threadpool(service.record, batch)
        metrics.recorded(report, batch, service.clock())
        return RecordedOut(added=report.added, known=report.known)


def add_shop(api: APIRouter, service: Service) -> None:
    @api.post("/api/v1/items", openapi_extra=_rows_of(ItemIn))
    async def items(request: Request) -> AddedOut:
        """Adds one item or a list of them to the shop, or replaces them whole: all, or none when a row is wrong.

        An item that is added can be in the next list. One that is no longer to be had is sent with `available` false.
        """
        batch = read_items(request.headers.get("content-type", ""), await request.body())
        added = await run_in_threadpool(service.add_items, batch)
        return AddedOut(written=added.written, recommendable=added.recommendable)


def _rows_of(kind: type[Strict]) -> dict[str, Any]:
    """How a body of one row or a list of them is described."""
    one = kind.model_json_schema()
    schema = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_ROWS}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_keys(api: APIRouter, access: Access) -> None:
    @api.post("/api/v1/users/{user_id:path}/key")
    async def key(
        request: Request, user_id: ExternalId, minutes: Annotated[int, Query(ge=1, le=MAX_MINUTES)] = 60
    ) -> KeyOut:
        """A key for the browser of one user, which opens nothing of others, and not for long."""
        written, made = await run_in_threadpool(
            access.create,
            ("read", "ingest"),
            lasting_ms=minutes * 60_000,
            user_id=user_id,
            parent=request.state.caller.key_id,
        )
        return KeyOut(key=written, user_id=user_id, expires=made.expires)


def add_health(api: APIRouter, service: Service) -> None:
    @api.get("/api/health/live")
    async def live() -> StateOut:
        """The process answers."""
        return StateOut(status="live", manifest_id=service.manifest_id)

    @api.get("/api/health/ready")
    def ready() -> StateOut:
        """The store answers and a trained system scores."""
        if (problem := service.problem()) is not None:
            raise RefusalError(503, problem)
        return StateOut(status="ready", manifest_id=service.manifest_id)


def add_metrics(api: APIRouter, service: Service, metrics: Metrics) -> None:
    @api.get("/metrics", include_in_schema=False)
    def measured() -> Response:
        for recommendable, items in zip(("yes", "no"), service.new_items(), strict=True):
            metrics.new_items.labels(recommendable).set(items)
        metrics.encoded.set(service.encoded())
        metrics.refused.set(service.refused() is not None)
        items, recall = service.indexed()
        metrics.indexed.set(items)
        if recall is not None:
            metrics.recall.set(recall)
        return Response(metrics.told(), media_type=CONTENT_TYPE_LATEST)
