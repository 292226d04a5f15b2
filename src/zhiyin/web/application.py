"""The HTTP API and the page, over one service."""

from fastapi import FastAPI

from zhiyin import __version__
from zhiyin.app.service import Service
from zhiyin.web.errors import add_errors
from zhiyin.web.gorse import add_gorse
from zhiyin.web.guard import Guard
from zhiyin.web.metrics import Metrics, add_measure
from zhiyin.web.page import add_page
from zhiyin.web.routes import add_events, add_items, add_operations, add_people, add_shop, add_tastes
from zhiyin.web.schemas import ErrorOut


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
    add_errors(app)
    add_measure(app, metrics)
    app.add_middleware(Guard)
    add_people(app, service, metrics)
    add_tastes(app, service)
    add_items(app, service)
    add_events(app, service, metrics)
    add_shop(app, service)
    add_operations(app, service, metrics)
    add_gorse(app, service, metrics)
    add_page(app)
    return app
