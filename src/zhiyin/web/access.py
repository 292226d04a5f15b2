"""Which key opens which question."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Annotated

from fastapi import Request, Response, Security
from fastapi.security import APIKeyHeader
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope as ConnectionScope

from zhiyin.app.access import Access, Caller
from zhiyin.core.errors import StoreError
from zhiyin.core.events import Events, text
from zhiyin.core.stores import Scope
from zhiyin.web.errors import RefusalError, error_answer, store_answer
from zhiyin.web.shedding import HEALTH

HEADER = "X-API-Key"
LOOKING_UP_S = 10.0

OPEN = frozenset({"/", "/favicon.ico", "/api/openapi.json"})
OPEN_UNDER = (HEALTH, "/static/", "/locales/")
"""What needs no key: the page, which holds nothing by itself, and how the server is."""

READING = {("POST", "/api/v1/find"), ("POST", "/api/session/recommend")}
"""Questions that are put in a body."""
ADMINISTERING = {("DELETE", "/api/user/{user_id}"), ("GET", "/metrics")}
KEYS = ("POST", "/api/v1/users/{user_id:path}/key")
OF_ONE_USER = {
    ("GET", "/api/v1/recommend/{user_id:path}"),
    ("GET", "/api/v1/shelves/{user_id:path}"),
    ("GET", "/api/v1/users/{user_id:path}/history"),
    ("GET", "/api/v1/users/{user_id:path}/taste"),
    ("PUT", "/api/v1/users/{user_id:path}/taste"),
    ("DELETE", "/api/v1/users/{user_id:path}/taste"),
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/find"),
    ("GET", "/api/v1/items"),
    ("GET", "/api/v1/items/{item_id:path}"),
    ("GET", "/api/v1/similar/{item_id:path}"),
    ("GET", "/api/v1/categories"),
}
"""What a key of one user opens, as far as it is theirs."""


def scopes_of(method: str, path: str) -> tuple[Scope, ...]:
    """What a question needs. path: as the route is written."""
    if (method, path) == KEYS:
        # Such a key does both, and nobody may make one that opens more than their own.
        return "read", "ingest"
    if (method, path) in ADMINISTERING:
        return ("admin",)
    return ("read",) if method in {"GET", "HEAD"} or (method, path) in READING else ("ingest",)


class Door:
    """Lets those in who have a good key, before anything else of what they send is read."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, scope: ConnectionScope) -> Response | None:
        """What those are answered who stay outside; who comes in is the `caller` of the state from then on."""
        path = scope["path"]
        if path in OPEN or path.startswith(OPEN_UNDER):
            return None
        try:
            caller = await self._caller(Headers(scope=scope).get(HEADER))
        except StoreError as error:
            return store_answer(error)
        except TimeoutError:
            return store_answer(StoreError(f"a key was not found within {LOOKING_UP_S:g} seconds"))
        if caller is None:
            return error_answer(401, f"send a key that is good in the header {HEADER}")
        scope.setdefault("state", {})["caller"] = caller
        return None

    async def _caller(self, key: str | None) -> Caller | None:
        if key is None:
            return None
        if (caller := self._access.remembered(key)) is not None:
            return caller
        async with asyncio.timeout(LOOKING_UP_S):
            return await run_in_threadpool(self._access.caller, key)


async def authorised(
    request: Request, _: Annotated[str | None, Security(APIKeyHeader(name=HEADER, auto_error=False))]
) -> None:
    """As `check_authorised`; tells the description of the API that there are keys."""
    check_authorised(request)


def check_authorised(request: Request) -> None:
    """Raises `RefusalError` with 403 where a key came in that is not for this."""
    caller = _caller(request)
    if caller is None:
        return
    asked = request.method, request.scope["route"].path
    scopes = scopes_of(*asked)
    check_may(request, *scopes)
    request.state.audit = "admin" in scopes or asked == KEYS
    if caller.user_id is not None:
        if asked not in OF_ONE_USER:
            raise RefusalError(403, "this key is of one user, and opens nothing else")
        told = request.path_params.get("user_id")
        check_own(request, [] if told is None else [told])


def check_may(request: Request, *scopes: Scope) -> None:
    """Raises `RefusalError` with 403 where a key came that is not for this."""
    caller = _caller(request)
    if caller is not None and not all(map(caller.may, scopes)):
        raise RefusalError(403, f"this needs a key with the scope {' and '.join(scopes)}")


def own_ids(request: Request, events: Events) -> Events:
    """The events, with ids that nobody else can have where the key is of one user, who could take theirs away else."""
    caller = _caller(request)
    if caller is None or caller.user_id is None:
        return events

    def own(given: str | None) -> str | None:
        return given and sha256(f"{caller.user_id}\x1f{given}".encode()).hexdigest()

    return replace(events, event_id=text(map(own, events.event_id)))


def check_own(request: Request, user_ids: Iterable[str | None]) -> None:
    """Raises `RefusalError` with 403 where the key is of one user and this is about another."""
    caller = _caller(request)
    if caller is not None and caller.user_id is not None and any(each != caller.user_id for each in user_ids):
        raise RefusalError(403, "this key is of one user, and opens nothing of others")


def _caller(request: Request) -> Caller | None:
    """None where everybody may ask."""
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    return caller
