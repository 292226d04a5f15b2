"""Bodies of requests, read and checked."""

import json
from typing import Any

from pydantic import ValidationError

from zhiyin.app.service import Problem
from zhiyin.core.events import MISSING_POSITION, Events
from zhiyin.web.errors import RefusalError
from zhiyin.web.schemas import EventIn

MAX_EVENTS = 1000


def read_events(content_type: str, body: bytes, now: int) -> Events:
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
