"""How a request that cannot be answered is told."""

import logging
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from zhiyin.app.service import Problem, RowsRefusedError
from zhiyin.core.errors import ConfigError, InputError, NotFoundError, StoreError

LOG = logging.getLogger(__name__)

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class RefusalError(Exception):
    """A request that is answered with `status` before a service is asked."""

    def __init__(self, status: int, error: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.problems = tuple(problems)


def error_answer(
    status: int, error: str, problems: Sequence[Problem] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    listed = [{"row": problem.row, "field": problem.field, "reason": problem.reason} for problem in problems]
    return JSONResponse({"error": error, "problems": listed}, status, headers)


def store_answer(error: StoreError) -> JSONResponse:
    LOG.error("the store failed: %s", error)
    return error_answer(503, "the store cannot do this now; the log of the server says why")


def add_errors(app: FastAPI) -> None:
    @app.exception_handler(RowsRefusedError)
    def refused_rows(_: Request, error: RowsRefusedError) -> Response:
        return error_answer(422, str(error), error.problems)

    @app.exception_handler(RefusalError)
    def refusal(_: Request, error: RefusalError) -> Response:
        return error_answer(error.status, str(error), error.problems)

    @app.exception_handler(InputError)
    def input_error(_: Request, error: InputError) -> Response:
        return error_answer(422, str(error))

    @app.exception_handler(NotFoundError)
    def not_found(_: Request, error: NotFoundError) -> Response:
        return error_answer(404, str(error))

    @app.exception_handler(StoreError)
    def store_error(_: Request, error: StoreError) -> Response:
        return store_answer(error)

    @app.exception_handler(ConfigError)
    def unable(_: Request, error: ConfigError) -> Response:
        return error_answer(503, str(error))

    @app.exception_handler(HTTPException)
    def not_routed(request: Request, error: HTTPException) -> Response:
        headers = _allowed(app, request) if error.status_code == 405 else error.headers
        return error_answer(error.status_code, error.detail, headers=headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = [Problem(0, ".".join(str(part) for part in item["loc"][1:]), item["msg"]) for item in error.errors()]
        return error_answer(422, "the request has a parameter that cannot be used", problems)


def _allowed(app: FastAPI, request: Request) -> dict[str, str]:
    """Every method of a path; the framework names those of its first handler alone."""

    def answers(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in app.routes)

    return {"Allow": ", ".join(filter(answers, METHODS))}
