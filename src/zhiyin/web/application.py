"""The HTTP API and the page, over one service."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, select_autoescape
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zhiyin import __version__
from zhiyin.app.service import (
    EventsRefusedError,
    HistoryEntry,
    ItemView,
    Problem,
    RecommendRequest,
    Service,
)
from zhiyin.core.errors import InputError, NotFoundError, StoreError
from zhiyin.core.events import MAX_ID_LENGTH, MISSING_POSITION, Events
from zhiyin.core.results import Reason, Recommendations

LOG = logging.getLogger(__name__)
HERE = Path(__file__).parent
MAX_BODY_BYTES = 1 << 20
MAX_EVENTS = 1000
MAX_LIST = 100
MAX_LIKED = 100
LATEST_TIMESTAMP = 253_402_300_799_999
"""The end of the year 9999, beyond which a time in milliseconds is surely a mistake of units."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
"""JSON has one kind of number: 5.0 is the integer 5."""

ExternalId = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""Told to clients in the description of the API; the service refuses whatever it cannot use by itself."""


class EventIn(Strict):
    """One event. timestamp: epoch milliseconds, left out for "now"; not later than now by more than a day."""

    user_id: ExternalId
    item_id: ExternalId
    event: ExternalId = Field(max_length=64)
    value: float | None = Field(default=None, allow_inf_nan=False)
    timestamp: Annotated[int, Field(ge=0, le=LATEST_TIMESTAMP), Whole] | None = None
    session_id: ExternalId | None = None
    event_id: ExternalId | None = None
    recommendation_id: ExternalId | None = None
    position: Annotated[int, Field(ge=1, le=1_000_000), Whole] | None = None


class ProblemOut(Strict):
    """Why a row was refused; rows count from 0."""

    row: int
    field: str
    reason: str


class ErrorOut(Strict):
    error: str
    problems: list[ProblemOut] = []


class RecordedOut(Strict):
    """added: new events; known: events whose id was already there."""

    added: int
    known: int


class ReasonOut(Strict):
    """kind: "history", "popular" or "none"; the rest tells the event of the user's own history behind the item."""

    kind: str
    item_id: str | None
    title: str | None
    event: str | None
    value: float | None
    share: float | None


class ItemOut(Strict):
    item_id: str
    title: str
    description: str | None
    categories: list[str]
    price: float | None


class RecommendedOut(Strict):
    item: ItemOut
    rank: int
    score: float
    reason: ReasonOut


class RecommendationsOut(Strict):
    user_id: str
    rung: str
    recommendation_id: str
    manifest_id: str
    items: list[RecommendedOut]


class ShelfOut(Strict):
    kind: str
    category: str | None
    reason: ReasonOut | None
    recommendations: RecommendationsOut


class ShelvesOut(Strict):
    user_id: str
    shelves: list[ShelfOut]


class HistoryEntryOut(Strict):
    item_id: str
    title: str
    event: str
    value: float | None
    timestamp: int | None


class HistoryOut(Strict):
    user_id: str
    events: list[HistoryEntryOut]


class UserOut(Strict):
    user_id: str
    events: int


class UsersOut(Strict):
    users: list[UserOut]


class ItemsOut(Strict):
    items: list[ItemOut]


class CategoryOut(Strict):
    name: str
    items: int


class CategoriesOut(Strict):
    categories: list[CategoryOut]


class SimilarOut(Strict):
    item: ItemOut
    score: float


class SimilarListOut(Strict):
    items: list[SimilarOut]


class StateOut(Strict):
    status: str
    manifest_id: str


class RefusalError(Exception):
    """A request that is answered with `status` before a service is asked."""

    def __init__(self, status: int, error: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.problems = tuple(problems)


class Guard:
    """Caps the size of bodies, declared or not, and puts the security headers on every answer, also on one that
    tells of an unexpected error: what went wrong is logged, the client learns nothing of the inside."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > self._limit:
                refusal = _error(413, f"the body is larger than {self._limit} bytes; send fewer events at a time")
                await refusal(scope, receive, guarded)
                return
            if not message.get("more_body"):
                break
        pending: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> Message:
            return pending.pop() if pending else await receive()

        try:
            await self._app(scope, replayed, guarded)
        except Exception:
            if started:
                raise
            LOG.exception("a request failed unexpectedly")
            await _error(500, "something went wrong here; the log of the server says what")(scope, replayed, guarded)


class Metrics:
    """Counters of one application, apart from those of any other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "zhiyin_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "zhiyin_http_request_seconds", "Time to answer a request.", ["route"], registry=self.registry
        )
        self.lists = Counter("zhiyin_lists_served", "Lists served, by rung.", ["rung"], registry=self.registry)
        self.events = Counter("zhiyin_events_recorded", "Events added to the log.", registry=self.registry)


def create_app(service: Service) -> FastAPI:
    """The application that answers for `service`."""
    app = FastAPI(
        title="Zhiyin",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses={
            404: {"model": ErrorOut, "description": "There is no such thing"},
            413: {"model": ErrorOut, "description": "The body is too large"},
            422: {"model": ErrorOut, "description": "What was wrong, by row and field"},
            500: {"model": ErrorOut, "description": "An unexpected error, told to the log of the server"},
            503: {"model": ErrorOut, "description": "The store does not answer, or the system cannot serve"},
        },
    )
    metrics = Metrics()
    _add_errors(app)
    _add_measure(app, metrics)
    app.add_middleware(Guard)
    _add_people(app, service, metrics)
    _add_items(app, service)
    _add_events(app, service, metrics)
    _add_operations(app, service, metrics)
    _add_page(app)
    return app


def _add_people(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/api/recommend/{user_id:path}")
    def recommend(
        user_id: ExternalId,
        category: Annotated[list[str], Query(max_length=20, default_factory=list)],
        item: Annotated[list[ExternalId], Query(max_length=MAX_LIKED, default_factory=list)],
        n: Annotated[int, Query(ge=1, le=MAX_LIST)] = 10,
        keep_seen: bool = False,
    ) -> RecommendationsOut:
        """A list for one user. `item`: liked items of a visitor without history; unknown ones say nothing."""
        served = service.recommend(
            RecommendRequest(user_id, n, tuple(category), keep_seen=keep_seen, items=tuple(item))
        )
        metrics.lists.labels(served.rung).inc()
        return _list_out(service, served)

    @app.get("/api/shelves/{user_id:path}")
    def shelves(
        user_id: ExternalId,
        category: Annotated[list[str], Query(max_length=20, default_factory=list)],
        n: Annotated[int, Query(ge=1, le=50)] = 12,
    ) -> ShelvesOut:
        """The shelves of one user's page. `category`: the first shelf holds nothing else."""
        answer = service.shelves(user_id, n, tuple(category))
        out = []
        for shelf in answer.shelves:
            metrics.lists.labels(shelf.recommendations.rung).inc()
            out.append(
                ShelfOut(
                    kind=shelf.kind,
                    category=shelf.category,
                    reason=_reason_out(service, shelf.reason) if shelf.reason else None,
                    recommendations=_list_out(service, shelf.recommendations),
                )
            )
        return ShelvesOut(user_id=user_id, shelves=out)

    @app.get("/api/users")
    def users(
        prefix: Annotated[str, Query(max_length=MAX_ID_LENGTH)] = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> UsersOut:
        """Known users, the most active first."""
        known = service.users(prefix, limit)
        return UsersOut(users=[UserOut(user_id=user_id, events=events) for user_id, events in known])

    @app.get("/api/users/{user_id:path}/history")
    def history(user_id: ExternalId, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> HistoryOut:
        """The user's latest events, newest first."""
        return HistoryOut(user_id=user_id, events=[_entry_out(entry) for entry in service.history(user_id, limit)])


def _add_items(app: FastAPI, service: Service) -> None:
    @app.get("/api/items")
    def items(
        search: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> ItemsOut:
        """Items whose title holds `search`, the most popular first."""
        return ItemsOut(items=[_item_out(item) for item in service.items(search, limit)])

    @app.get("/api/items/{item_id:path}")
    def item(item_id: ExternalId) -> ItemOut:
        return _item_out(service.item(item_id))

    @app.get("/api/similar/{item_id:path}")
    def similar(item_id: ExternalId, n: Annotated[int, Query(ge=1, le=MAX_LIST)] = 10) -> SimilarListOut:
        """Items near this one; empty where the model has no notion of nearness."""
        near = service.similar(item_id, n)
        return SimilarListOut(items=[SimilarOut(item=_item_out(view), score=score) for view, score in near])

    @app.get("/api/categories")
    def categories() -> CategoriesOut:
        """Categories, the largest first."""
        return CategoriesOut(categories=[CategoryOut(name=name, items=n) for name, n in service.categories()])


def _add_events(app: FastAPI, service: Service, metrics: Metrics) -> None:
    one = EventIn.model_json_schema()
    schema = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_EVENTS}]}

    @app.post(
        "/api/events",
        responses={415: {"model": ErrorOut, "description": "The body is no JSON"}},
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    )
    async def events(request: Request) -> RecordedOut:
        """Records one event or a list of them: all, or none when a row is wrong."""
        batch = _events(request.headers.get("content-type", ""), await request.body(), service.clock())
        report = await run_in_threadpool(service.record, batch)
        metrics.events.inc(report.added)
        return RecordedOut(added=report.added, known=report.known)


def _add_operations(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/api/health/live")
    def live() -> StateOut:
        """The process answers."""
        return StateOut(status="live", manifest_id=service.manifest_id)

    @app.get("/api/health/ready")
    def ready() -> StateOut:
        """The store answers and the system scores."""
        if not service.ready():
            raise RefusalError(503, "the system that serves holds no items")
        return StateOut(status="ready", manifest_id=service.manifest_id)

    @app.get("/metrics", include_in_schema=False)
    def measured() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    # Templates are read and rendered once: the page holds no data, the script asks the API for it.
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape())
    locales = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((HERE / "locales").glob("*.json"))}
    page = environment.get_template("index.html").render(text=locales["en"])

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response((HERE / "static" / "icon.svg").read_bytes(), media_type="image/svg+xml")

    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.mount("/locales", StaticFiles(directory=HERE / "locales"), name="locales")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(EventsRefusedError)
    def refused_events(_: Request, error: EventsRefusedError) -> Response:
        return _error(422, str(error), error.problems)

    @app.exception_handler(RefusalError)
    def refusal(_: Request, error: RefusalError) -> Response:
        return _error(error.status, str(error), error.problems)

    @app.exception_handler(InputError)
    def input_error(_: Request, error: InputError) -> Response:
        return _error(422, str(error))

    @app.exception_handler(NotFoundError)
    def not_found(_: Request, error: NotFoundError) -> Response:
        return _error(404, str(error))

    @app.exception_handler(StoreError)
    def store_error(_: Request, error: StoreError) -> Response:
        return _error(503, str(error))

    @app.exception_handler(HTTPException)
    def not_routed(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = [Problem(0, ".".join(str(part) for part in item["loc"][1:]), item["msg"]) for item in error.errors()]
        return _error(422, "the request has a parameter that cannot be used", problems)


def _add_measure(app: FastAPI, metrics: Metrics) -> None:
    @app.middleware("http")
    async def measure(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            response = await proceed(request)
            status = response.status_code
            return response
        finally:
            # The route's pattern, not the path: ids in labels would make a time series a user.
            route = getattr(request.scope.get("route"), "path", "other")
            metrics.requests.labels(route, str(status)).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _events(content_type: str, body: bytes, now: int) -> Events:
    """now: the time of events that tell none, epoch ms. Raises `RefusalError` with every problem of every row."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RefusalError(415, "events are sent as application/json")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusalError(422, "the body is no JSON", [Problem(0, "", str(error))]) from error
    rows = found if isinstance(found, list) else [found]
    if not rows or len(rows) > MAX_EVENTS:
        raise RefusalError(422, f"send 1 to {MAX_EVENTS} events at a time, not {len(rows)}")
    events: list[EventIn] = []
    problems: list[Problem] = []
    for row, values in enumerate(rows):
        try:
            events.append(EventIn.model_validate(values))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                field = ".".join(str(part) for part in detail["loc"])
                problems.append(Problem(row, field, detail["msg"]))
    if problems:
        raise RefusalError(422, f"{len(problems)} problem(s) in the events, nothing was recorded", problems)
    return Events.build(
        user_id=[event.user_id for event in events],
        item_id=[event.item_id for event in events],
        event=[event.event for event in events],
        value=[float("nan") if event.value is None else event.value for event in events],
        timestamp=[now if event.timestamp is None else event.timestamp for event in events],
        session_id=[event.session_id for event in events],
        event_id=[event.event_id for event in events],
        recommendation_id=[event.recommendation_id for event in events],
        position=[MISSING_POSITION if event.position is None else event.position for event in events],
    )


def _error(
    status: int, error: str, problems: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    listed = [{"row": problem.row, "field": problem.field, "reason": problem.reason} for problem in problems]
    return JSONResponse({"error": error, "problems": listed}, status, headers)


def _item_out(view: ItemView) -> ItemOut:
    return ItemOut(
        item_id=view.item_id,
        title=view.title,
        description=view.description,
        categories=list(view.categories),
        price=view.price,
    )


def _entry_out(entry: HistoryEntry) -> HistoryEntryOut:
    return HistoryEntryOut(
        item_id=entry.item_id, title=entry.title, event=entry.event, value=entry.value, timestamp=entry.timestamp
    )


def _reason_out(service: Service, reason: Reason) -> ReasonOut:
    return ReasonOut(
        kind=reason.kind,
        item_id=reason.item_id,
        title=None if reason.item_id is None else service.describe(reason.item_id).title,
        event=reason.event,
        value=reason.value,
        share=reason.share,
    )


def _list_out(service: Service, served: Recommendations) -> RecommendationsOut:
    return RecommendationsOut(
        user_id=served.user_id,
        rung=served.rung,
        recommendation_id=served.recommendation_id,
        manifest_id=served.manifest_id,
        items=[
            RecommendedOut(
                item=_item_out(service.describe(item.item_id)),
                rank=item.rank,
                score=item.score,
                reason=_reason_out(service, item.reason),
            )
            for item in served.items
        ],
    )
