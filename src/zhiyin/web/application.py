"""The HTTP API and the page, over one service."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from zhiyin import __version__
from zhiyin.app.service import Service
from zhiyin.web.access import HEADER as KEY_HEADER
from zhiyin.web.access import Door, authorised
from zhiyin.web.errors import add_errors
from zhiyin.web.gorse import add_gorse
from zhiyin.web.guard import Guard, anybody
from zhiyin.web.journal import Journal
from zhiyin.web.metrics import Metrics
from zhiyin.web.page import add_page
from zhiyin.web.routes import (
    add_events,
    add_health,
    add_items,
    add_keys,
    add_metrics,
    add_people,
    add_shop,
    add_tastes,
)
from zhiyin.web.schemas import ErrorOut
from zhiyin.web.shedding import MAX_AT_ONCE, Load
from zhiyin.web.waiting import Answers

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorOut, "description": "No key came, or none that is good"},
    403: {"model": ErrorOut, "description": "The key is not for this"},
}


def create_app(
    service: Service,
    *,
    keyed: bool = False,
    origins: Sequence[str] = (),
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """The application that answers for `service`; keyed: to those alone who have a key of its store. origins: of other
    sites whose pages may ask. lifespan: what is done before it answers and after.
    """
    app = FastAPI(
        title="Zhiyin",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses={
            404: {"model": ErrorOut, "description": "There is no such thing"},
            408: {"model": ErrorOut, "description": "The body did not come in time"},
            413: {"model": ErrorOut, "description": "The body is too large"},
            415: {"model": ErrorOut, "description": "The body is no JSON, or is compressed"},
            422: {"model": ErrorOut, "description": "What was wrong, by row and field"},
            500: {"model": ErrorOut, "description": "An unexpected error, told to the log of the server"},
            503: {"model": ErrorOut, "description": "The store does not answer, or too much is asked"},
        },
    )
    metrics = Metrics()
    service.stages.told = metrics.stage
    add_errors(app)
    app.state.load = Load(MAX_AT_ONCE, metrics.shed.inc)
    app.add_middleware(Guard, load=app.state.load, door=Door(service.access) if keyed else anybody)
    app.add_middleware(Journal, metrics=metrics)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=[KEY_HEADER],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    closed = APIRouter(dependencies=[Depends(authorised)], responses=REFUSALS) if keyed else APIRouter()
    if keyed:
        add_keys(closed, service.access)
    answers = Answers()
    add_people(closed, service, metrics, answers)
    add_tastes(closed, service)
    add_items(closed, service)
    add_events(closed, service, metrics)
    add_shop(closed, service)
    add_gorse(closed, service, metrics, answers)
    add_metrics(closed, service, metrics)
    opened = APIRouter()
    add_health(opened, service)
    app.include_router(closed)
    app.include_router(opened)
    add_page(app)
    return app
