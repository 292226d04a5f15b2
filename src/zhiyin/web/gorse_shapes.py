"""What goes over the wire in the shape of Gorse, and what it is here.

A feedback is an event; its id is made of who, what, which and when, so that one which is sent twice is kept once. The
comment of an item is its title, its time the one from which it is to be had, its labels are its attributes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_pascal

from zhiyin.core.catalog import Catalog, Users, attribute_columns, attributes_at
from zhiyin.core.events import MAX_VALUE, MISSING_TIME, RATING, Events
from zhiyin.web.schemas import LATEST_TIMESTAMP, ExternalId

COMMENT = "comment"
"""Attribute of a user that holds the comment; an item's is its title."""
LABELS = "labels"
"""Attribute that holds labels which have no names."""
MAX_DEPTH = 32
"""Of labels within labels."""
NO_TIME = "0001-01-01T00:00:00Z"


def _time(given: object) -> datetime | None:
    """Without what other programs write around a time: nothing at all, or a zone twice."""
    if given is None or isinstance(given, datetime):
        return given
    if given == "":
        return None
    if not isinstance(given, str) or not re.match(r"\d{4}-\d\d-\d\d", given):
        raise ValueError("must be a date, or a date and a time, as 2023-11-14T22:13:20Z")
    time = datetime.fromisoformat(re.sub(r"\s*([+-]\d{4}) [A-Z]+$", r"\1", given).upper())
    if (_milliseconds(time) or 0) > LATEST_TIMESTAMP:
        raise ValueError("must not be later than the year 9999")
    return time


def _storable(given: object) -> object:
    try:
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError("must hold numbers that are finite and text that is in Unicode") from error
    if _deeper(given, MAX_DEPTH):
        raise ValueError(f"must be nested at most {MAX_DEPTH} deep")
    return given


def _deeper(given: object, than: int) -> bool:
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else ()
    return than < 0 or any(_deeper(part, than - 1) for part in parts)


_WRITTEN = {"anyOf": [{"type": "string", "format": "date-time"}, {"const": ""}, {"type": "null"}]}
Time = Annotated[datetime | None, BeforeValidator(_time), WithJsonSchema(_WRITTEN)]
Labels = Annotated[Any, BeforeValidator(_storable)]
Comment = Annotated[str, Field(max_length=100_000)]
Categories = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, alias_generator=to_pascal, populate_by_name=True)


class FeedbackIn(Shape):
    feedback_type: ExternalId = Field(max_length=64)
    user_id: ExternalId
    item_id: ExternalId
    value: float | None = Field(default=None, allow_inf_nan=False, ge=-MAX_VALUE, le=MAX_VALUE)
    timestamp: Time = None


class VisitIn(Shape):
    """Feedback of somebody who is nobody yet."""

    feedback_type: str = Field(default="", max_length=64)
    user_id: str | None = None
    item_id: ExternalId
    value: float | None = Field(default=None, allow_inf_nan=False, ge=-MAX_VALUE, le=MAX_VALUE)
    timestamp: Time = None


class FeedbackOut(Shape):
    feedback_type: str
    user_id: str
    item_id: str
    value: float
    timestamp: str
    comment: str = ""


class FeedbackPage(Shape):
    cursor: str
    feedback: list[FeedbackOut]


class ItemShape(Shape):
    item_id: ExternalId
    is_hidden: bool | None = None
    categories: Categories | None = None
    timestamp: Time = None
    labels: Labels = None
    comment: Comment | None = None


class ItemPatch(Shape):
    is_hidden: bool | None = None
    categories: Categories | None = None
    timestamp: Time = None
    labels: Labels = None
    comment: Comment | None = None


class ItemOut(Shape):
    item_id: str
    is_hidden: bool
    categories: list[str]
    timestamp: str
    labels: Any
    comment: str


class ItemPage(Shape):
    cursor: str
    items: list[ItemOut]


class UserShape(Shape):
    user_id: ExternalId
    labels: Labels = None
    comment: Comment | None = None


class UserPatch(Shape):
    labels: Labels = None
    comment: Comment | None = None


class UserOut(Shape):
    user_id: str
    labels: Any
    comment: str


class UserPage(Shape):
    cursor: str
    users: list[UserOut]


class Score(Shape):
    id: str
    score: float


class Success(Shape):
    row_affected: int


def events_of(feedback: Sequence[FeedbackIn], now: int) -> Events:
    """now: the time of feedback that tells none, epoch ms."""
    return Events.build(
        user_id=[each.user_id for each in feedback],
        item_id=[each.item_id for each in feedback],
        event=[each.feedback_type for each in feedback],
        value=[_said(each) for each in feedback],
        timestamp=[_milliseconds(each.timestamp) or now for each in feedback],
        event_id=[_identity(each) for each in feedback],
    )


def _said(feedback: FeedbackIn) -> float:
    """A value of 0 of a rating alone: the shape knows no other way to leave one out."""
    said = feedback.value or (0.0 if feedback.value is not None and feedback.feedback_type == RATING else None)
    return np.nan if said is None else said


def feedback_of(events: Events) -> list[FeedbackOut]:
    return [
        FeedbackOut(
            feedback_type=events.event[row],
            user_id=events.user_id[row],
            item_id=events.item_id[row],
            value=float(np.nan_to_num(events.value[row])),
            timestamp=_written(int(events.timestamp[row])),
        )
        for row in range(len(events))
    ]


def catalog_of(items: Sequence[ItemShape]) -> Catalog:
    return Catalog.build(
        item_id=[item.item_id for item in items],
        title=[(item.comment or "").strip() or None for item in items],
        categories=[tuple(dict.fromkeys(item.categories or ())) for item in items],
        available_from=[_milliseconds(item.timestamp) or MISSING_TIME for item in items],
        available=[not item.is_hidden for item in items],
        attributes=attribute_columns(_attributes(item.labels) for item in items),
    )


def patched_item(catalog: Catalog, patch: ItemPatch) -> Catalog:
    """The one item of `catalog` with what `patch` says; what that leaves out stays, also what the shape cannot tell."""
    changed = catalog_of(
        [
            ItemShape.model_construct(
                item_id=catalog.item_id[0],
                is_hidden=bool(patch.is_hidden),
                categories=patch.categories,
                timestamp=patch.timestamp,
                labels=patch.labels,
                comment=patch.comment or "",
            )
        ]
    )
    said = {
        "available": patch.is_hidden,
        "categories": patch.categories,
        "available_from": patch.timestamp,
        "attributes": patch.labels,
        "title": patch.comment,
    }
    columns = {name: getattr(changed if said.get(name) is not None else catalog, name) for name in vars(catalog)}
    return Catalog(**columns)


def items_of(catalog: Catalog) -> list[ItemOut]:
    return [
        ItemOut(
            item_id=catalog.item_id[row],
            is_hidden=not catalog.available[row],
            categories=list(catalog.categories[row]),
            timestamp=_written(int(catalog.available_from[row])),
            labels=_labels(attributes_at(catalog.attributes, row)),
            comment=catalog.title[row] or "",
        )
        for row in range(len(catalog))
    ]


def people_of(users: Sequence[UserShape]) -> Users:
    comments = [(user.comment or "").strip() for user in users]
    attributes = [
        _attributes(user.labels) | ({COMMENT: comment} if comment else {})
        for user, comment in zip(users, comments, strict=True)
    ]
    return Users.build(user_id=[user.user_id for user in users], attributes=attribute_columns(attributes))


def patched_person(users: Users, patch: UserPatch) -> Users:
    """The one user of `users` with what `patch` says."""
    (before,) = users_of(users)
    labels = before.labels if patch.labels is None else patch.labels
    comment = before.comment if patch.comment is None else patch.comment
    return people_of([UserShape.model_construct(user_id=before.user_id, labels=labels, comment=comment)])


def users_of(users: Users) -> list[UserOut]:
    found = []
    for row, user_id in enumerate(users.user_id):
        attributes = attributes_at(users.attributes, row)
        comment = attributes.pop(COMMENT, "")
        found.append(UserOut(user_id=user_id, labels=_labels(attributes), comment=comment))
    return found


def _attributes(labels: object) -> dict[str, str]:
    """Labels as named texts. A text stays as it is; what is none, or would be read as one, is written in JSON."""
    named = labels if isinstance(labels, Mapping) else {} if labels is None else {LABELS: labels}
    return {str(name): _text(value) for name, value in named.items() if value is not None}


def _labels(attributes: Mapping[str, str]) -> Any:
    """The labels that were given: `_attributes` backwards."""
    values = {name: _value(text) for name, text in attributes.items()}
    return values[LABELS] if values.keys() == {LABELS} else values or None


def _text(value: object) -> str:
    if isinstance(value, str) and _value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _value(text: str) -> Any:
    """What was written as JSON; a text that was not, or could not be told again, as it is."""
    try:
        return _storable(json.loads(text, parse_constant=_refused))
    except (ValueError, RecursionError):
        return text


def _refused(name: str) -> None:
    """NaN and the like are no JSON, though the library reads them."""
    raise ValueError(name)


def _identity(feedback: FeedbackIn) -> str | None:
    """Of feedback without a time none: each is an event of its own."""
    time = _milliseconds(feedback.timestamp)
    if time is None:
        return None
    key = json.dumps([feedback.feedback_type, feedback.user_id, feedback.item_id, time])
    return f"feedback-{sha256(key.encode()).hexdigest()[:32]}"


def _milliseconds(time: datetime | None) -> int | None:
    """Since 1970 UTC; None for a time before, as other programs write that they know none."""
    if time is None:
        return None
    since = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    return since if since > 0 else None


def _written(milliseconds: int) -> str:
    if milliseconds == MISSING_TIME:
        return NO_TIME
    time = datetime.fromtimestamp(min(milliseconds, LATEST_TIMESTAMP) / 1000, UTC)
    return time.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds").replace("+00:00", "Z")
