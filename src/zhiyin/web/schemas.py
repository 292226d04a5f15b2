"""What goes over the wire, as the description of the API tells it."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zhiyin.core.events import MAX_ID_LENGTH, MAX_VALUE
from zhiyin.web.paging import MAX_CURSOR

LATEST_TIMESTAMP = 253_402_300_799_999
"""The end of the year 9999, beyond which a time in milliseconds is surely a mistake of units."""


EARLIEST_TIMESTAMP = 100_000_000_000
"""Of an event: in March 1973. A time in seconds is smaller until the year 5138."""

MAX_LIST = 100
MAX_EXAMPLES = 100
MAX_TASTE = 1000


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
"""JSON has one kind of number: 5.0 is the integer 5."""

ExternalId = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""Told to clients in the description of the API; the service refuses whatever it cannot use by itself."""


def _in_milliseconds(time: int) -> int:
    if time < EARLIEST_TIMESTAMP:
        raise ValueError(f"must be in milliseconds since 1970; {time} is as small as seconds are")
    return time


When = Annotated[
    int,
    Field(le=LATEST_TIMESTAMP, json_schema_extra={"minimum": EARLIEST_TIMESTAMP}),
    AfterValidator(_in_milliseconds),
    Whole,
]


class EventIn(Strict):
    """One event. timestamp: epoch milliseconds, left out for "now"; not later than now by more than a day."""

    user_id: ExternalId
    item_id: ExternalId
    event: ExternalId = Field(max_length=64)
    value: float | None = Field(default=None, allow_inf_nan=False, ge=-MAX_VALUE, le=MAX_VALUE)
    timestamp: When | None = None
    session_id: ExternalId | None = None
    event_id: ExternalId | None = None
    recommendation_id: ExternalId | None = None
    position: Annotated[int, Field(ge=1, le=1_000_000), Whole] | None = None


class ItemIn(Strict):
    """One item, in its whole. available_from: epoch milliseconds. image, audio: data URIs."""

    item_id: ExternalId
    title: str | None = Field(default=None, max_length=2_000)
    description: str | None = Field(default=None, max_length=100_000)
    categories: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=100)
    price: float | None = Field(default=None, allow_inf_nan=False)
    image: str | None = Field(default=None, pattern="^data:")
    audio: str | None = Field(default=None, pattern="^data:")
    available_from: Annotated[int, Field(ge=0, le=LATEST_TIMESTAMP), Whole] | None = None
    available: bool = True
    attributes: dict[str, str] = {}


BOOST = r"^[^\x00-\x1f\x7f-\x9f]{1,200}:-?[0-9]{1,2}(\.[0-9]{1,3})?$"


class RecommendQuery(BaseModel):
    """item: liked items of a visitor without history; unknown ones say nothing. exclude: what must not be there.
    boost: `CATEGORY:STRENGTH`, by how many standard deviations of the scores items of the category rise, below 0 for
    sinking. cursor: as an answer before gave it, for what comes behind; nothing is shown twice. explain: false leaves
    the reasons out, which is faster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: list[str] = Field(default=[], max_length=20)
    item: list[ExternalId] = Field(default=[], max_length=MAX_EXAMPLES)
    exclude: list[ExternalId] = Field(default=[], max_length=2 * MAX_EXAMPLES)
    boost: list[Annotated[str, Field(pattern=BOOST)]] = Field(default=[], max_length=20)
    n: int = Field(default=10, ge=1, le=MAX_LIST)
    keep_seen: bool = False
    explain: bool = True
    cursor: str = Field(default="", max_length=MAX_CURSOR, pattern=r"^[A-Za-z0-9_-]*$")


class FindIn(Strict):
    """What is looked for, in words. like, unlike: items as examples, which are not shown again.

    user_id: whose seen items are left out, and whose taste counts.
    """

    text: str = Field(max_length=1000, pattern=r"[^\s\x00-\x1f\x7f-\x9f]")
    user_id: ExternalId | None = None
    like: list[ExternalId] = Field(default=[], max_length=MAX_EXAMPLES)
    unlike: list[ExternalId] = Field(default=[], max_length=MAX_EXAMPLES)
    categories: list[str] = Field(default=[], max_length=20)
    n: Annotated[int, Field(ge=1, le=MAX_LIST), Whole] = 10


class TasteIn(Strict):
    """What a user says they like."""

    text: str = Field(max_length=MAX_TASTE, pattern=r"[^\s\x00-\x1f\x7f-\x9f]")


class ProblemOut(Strict):
    """Why a row was refused; rows count from 0."""

    row: int
    field: str
    reason: str


class ErrorOut(Strict):
    error: str
    problems: list[ProblemOut] = []


NO_TEXT: dict[int | str, dict[str, Any]] = {400: {"model": ErrorOut, "description": "The body is no text in UTF-8"}}


class RecordedOut(Strict):
    """added: new events; known: events whose id was already there."""

    added: int
    known: int


class AddedOut(Strict):
    """written: items that are in the shop now; recommendable: those of them that the system can recommend."""

    written: int
    recommendable: int


class KeyOut(Strict):
    """key: told this once. expires: epoch milliseconds."""

    key: str
    user_id: str
    expires: int | None


class ReasonOut(Strict):
    """kind: "history", "popular" or "none"; the rest tells the event of the user's own history behind the item."""

    kind: str
    item_id: str | None
    title: str | None
    event: str | None
    value: float | None
    share: float | None


class ItemOut(Strict):
    """generated: a language model wrote the description, not the shop."""

    item_id: str
    title: str
    description: str | None
    categories: list[str]
    price: float | None
    generated: bool


class RecommendedOut(Strict):
    item: ItemOut
    rank: int
    score: float
    reason: ReasonOut


class RecommendationsOut(Strict):
    """cursor: leads to what comes behind, which may be nothing; null where surely nothing does, and in shelves."""

    user_id: str
    rung: str
    recommendation_id: str
    manifest_id: str
    cursor: str | None
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


class TasteOut(Strict):
    """What a user likes, in words. source: "edited" by the user or "generated"; both null where nothing is said."""

    user_id: str
    text: str | None
    source: str | None


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


class FoundOut(Strict):
    item: ItemOut
    score: float


class FoundListOut(Strict):
    items: list[FoundOut]


class StateOut(Strict):
    status: str
    manifest_id: str
