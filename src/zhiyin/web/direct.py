"""Questions that are read at once.

The framework reads one parameter after the other, and looks for much that is not there, which takes a tenth of what a
list takes.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from zhiyin.web.access import check_authorised

Asked = TypeVar("Asked", bound=BaseModel)


class DirectRoute(APIRoute):
    """A question without a body, whose function takes what its path names, one model of what stands behind the question
    mark, and makes the answer itself. It is described as any other.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[..., Awaitable[Response]] = self.endpoint
        hints = get_type_hints(endpoint, include_extras=True)
        in_path = {name: TypeAdapter(hints[name]) for name in self.param_convertors}
        ((name, kind),) = ((name, get_args(hint)[0]) for name, hint in hints.items() if _is_query(hint))

        async def answer(request: Request) -> Response:
            check_authorised(request)
            named = _read_path(in_path, request)
            return await endpoint(**named, **{name: _read_query(kind, request)})

        return answer


def _is_query(hint: Any) -> bool:
    return any(isinstance(each, Query) for each in getattr(hint, "__metadata__", ()))


def _read_path(in_path: Mapping[str, TypeAdapter[Any]], request: Request) -> dict[str, Any]:
    """Raises `RequestValidationError`."""
    named = {}
    for name, adapter in in_path.items():
        try:
            named[name] = adapter.validate_python(request.path_params[name])
        except ValidationError as error:
            raise _refused(error, "path", name) from error
    return named


def _read_query(kind: type[Asked], request: Request) -> Asked:
    """Parameters that `kind` knows; of one that is no list, the last. Raises `RequestValidationError`."""
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        given.setdefault(name, []).append(value)
    lists = _lists_of(kind)
    told = {name: values if name in lists else values[-1] for name, values in given.items()}
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise _refused(error, "query") from error


def _refused(error: ValidationError, *where: str) -> RequestValidationError:
    problems = error.errors(include_url=False, include_context=False)
    return RequestValidationError([{**problem, "loc": (*where, *problem["loc"])} for problem in problems])


@cache
def _lists_of(kind: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in kind.model_fields.items() if isinstance(field.default, list))
