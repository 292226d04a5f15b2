"""Bodies of requests, read and checked."""

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from zhiyin.app.service import Problem
from zhiyin.core.catalog import Catalog, attribute_columns
from zhiyin.core.events import MISSING_POSITION, MISSING_TIME, Events
from zhiyin.web.errors import RefusalError
from zhiyin.web.schemas import EventIn, ItemIn, Strict

MAX_ROWS = 1000

Row = TypeVar("Row", bound=Strict)


def read_events(content_type: str, body: bytes, now: int) -> Events:
    """now: the time of events that tell none, epoch ms. Raises `RefusalError` with every problem of every row."""
    events = _read(content_type, body, EventIn, "events")
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


def read_items(content_type: str, body: bytes) -> Catalog:
    """Blanks around texts are no part of them. Raises `RefusalError` with every problem of every row."""
    items = _read(content_type, body, ItemIn, "items")
    return Catalog.build(
        item_id=[item.item_id for item in items],
        title=[_text(item.title) for item in items],
        description=[_text(item.description) for item in items],
        categories=[tuple(dict.fromkeys(item.categories)) for item in items],
        price=[float("nan") if item.price is None else item.price for item in items],
        image=[item.image for item in items],
        audio=[item.audio for item in items],
        available_from=[MISSING_TIME if item.available_from is None else item.available_from for item in items],
        available=[item.available for item in items],
        attributes=attribute_columns(item.attributes for item in items),
    )


def _text(given: str | None) -> str | None:
    return (given or "").strip() or None


def _read(content_type: str, body: bytes, kind: type[Row], what: str) -> list[Row]:
    """One row or a list of them, each a `kind`."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RefusalError(415, f"{what} are sent as application/json")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusalError(422, "the body is no JSON", [Problem(0, "", str(error))]) from error
    rows = found if isinstance(found, list) else [found]
    if not rows or len(rows) > MAX_ROWS:
        raise RefusalError(422, f"send 1 to {MAX_ROWS} {what} at a time, not {len(rows)}")
    read: list[Row] = []
    problems: list[Problem] = []
    for row, values in enumerate(rows):
        try:
            read.append(kind.model_validate(values))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                field = ".".join(str(part) for part in detail["loc"])
                problems.append(Problem(row, field, detail["msg"]))
    if problems:
        raise RefusalError(422, f"{len(problems)} problem(s) in the {what}, nothing was recorded", problems)
    return read
