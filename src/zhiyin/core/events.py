"""What people did: a batch of events, held by column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from zhiyin.core.arrays import FloatVector, IntVector, TextVector
from zhiyin.core.errors import InputError
from zhiyin.core.ids import fresh_id

MISSING_TIME = np.iinfo(np.int64).min
"""Timestamp of an event whose time is unknown; sorts before every known time."""

MISSING_POSITION = -1

RATING = "rating"
"""The kind of event whose value is a rating."""

MAX_VALUE = 1e15
"""The largest value of an event, and the smallest below 0: what is beyond is a mistake, and its square is no number in
single precision any more.
"""

MAX_ID_LENGTH = 512
"""Characters of a user's, an item's or any other id; what is imported can be served."""

AHEAD_MS = 86_400_000
"""How much later than now an event may be: clocks and zones differ by hours, more is a mistake of whoever sent it."""


@dataclass(frozen=True, eq=False)
class Events:
    """`n` events. Text columns are object arrays of `str` (or `None` where optional).

    value: float64, NaN where the kind of event carries none (a rating, seconds played, a quantity).
    timestamp: int64 milliseconds since 1970-01-01 UTC, `MISSING_TIME` where unknown.
    position: int64, the place in the list that was shown, `MISSING_POSITION` where unknown.
    sequence: int64, the place in the log; 0 until a store has given one.
    """

    user_id: TextVector
    item_id: TextVector
    event: TextVector
    value: FloatVector
    timestamp: IntVector
    session_id: TextVector
    event_id: TextVector
    recommendation_id: TextVector
    position: IntVector
    sequence: IntVector

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise InputError(f"columns of events differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.user_id)

    @cached_property
    def kinds(self) -> tuple[tuple[str, ...], IntVector]:
        """The kinds that there are, and (n,) the place of each event's among them."""
        places: dict[str, int] = {}
        inverse = [places.setdefault(kind, len(places)) for kind in self.event.tolist()]
        return tuple(places), np.array(inverse, np.int64)

    def identified(self) -> Self:
        """With an id for each event that has none."""
        ids = text(given or fresh_id() for given in self.event_id)
        return replace(self, event_id=ids)

    @classmethod
    def build(
        cls,
        *,
        user_id: Sequence[str],
        item_id: Sequence[str],
        event: Sequence[str] | str = "view",
        value: Sequence[float] | None = None,
        timestamp: Sequence[int] | None = None,
        session_id: Sequence[str | None] | None = None,
        event_id: Sequence[str | None] | None = None,
        recommendation_id: Sequence[str | None] | None = None,
        position: Sequence[int] | None = None,
        sequence: Sequence[int] | None = None,
    ) -> Self:
        """Events from plain sequences; a column left out is missing in every row."""
        n = len(user_id)
        return cls(
            user_id=text(user_id),
            item_id=text(item_id),
            event=text([event] * n if isinstance(event, str) else event),
            value=np.full(n, np.nan) if value is None else np.asarray(value, np.float64),
            timestamp=_integers(timestamp, n, MISSING_TIME),
            session_id=text([None] * n if session_id is None else session_id),
            event_id=text([None] * n if event_id is None else event_id),
            recommendation_id=text([None] * n if recommendation_id is None else recommendation_id),
            position=_integers(position, n, MISSING_POSITION),
            sequence=_integers(sequence, n, 0),
        )

    @classmethod
    def empty(cls) -> Self:
        return cls.build(user_id=[], item_id=[], event=[])

    @classmethod
    def concat(cls, batches: Iterable[Self]) -> Self:
        """All batches in one, in their order."""
        parts = list(batches) or [cls.empty()]
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def take(self, rows: Any) -> Self:
        """The events at `rows` (an index array, a mask or a slice)."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def text(values: Iterable[str | None]) -> TextVector:
    """An object array of strings, without numpy guessing at widths."""
    items = list(values)
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _integers(values: Sequence[int] | None, n: int, missing: int) -> IntVector:
    return np.full(n, missing, np.int64) if values is None else np.asarray(values, np.int64)
