"""What goes into the store, checked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zhiyin.core.arrays import IntVector, TextVector
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.errors import InputError
from zhiyin.core.events import AHEAD_MS, MAX_ID_LENGTH, MAX_VALUE, Events

_REQUIRED = ("user_id", "item_id", "event")
_OPTIONAL = ("session_id", "event_id", "recommendation_id")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """One reason to refuse one row of a batch; rows count from 0."""

    row: int
    field: str
    reason: str


class RowsRefusedError(InputError):
    """A batch that was not recorded, with every problem found in it."""

    rows: ClassVar[str]

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(
            f"{len(self.problems)} problem(s) in the {self.rows}, nothing was recorded; "
            f"row {first.row}, {first.field}: {first.reason}"
        )


class EventsRefusedError(RowsRefusedError):
    rows = "events"


class ItemsRefusedError(RowsRefusedError):
    rows = "items"


class UsersRefusedError(RowsRefusedError):
    rows = "users"


def checked_events(events: Events, now: int) -> Events:
    """`events` as they are. Raises `EventsRefusedError`, naming each row and field that cannot be used.

    One event of a far future would make all others old, so none may be later than `now` by more than a day.
    """
    problems = [
        Problem(row, name, reason)
        for name in (*_REQUIRED, *_OPTIONAL)
        for row, given in enumerate(getattr(events, name))
        if not (given is None and name in _OPTIONAL) and (reason := _id_problem(given)) is not None
    ]
    for row in np.flatnonzero(np.abs(events.value) > MAX_VALUE).tolist():
        problems.append(Problem(row, "value", f"must be a number from {-MAX_VALUE:g} to {MAX_VALUE:g}"))
    for row in np.flatnonzero(events.timestamp > now + AHEAD_MS).tolist():
        problems.append(Problem(row, "timestamp", "must not be later than now by more than a day"))
    if problems:
        raise EventsRefusedError(sorted(problems, key=lambda problem: problem.row))
    return events


def checked_items(catalog: Catalog) -> Catalog:
    """The items, of several rows with one id the last. Raises `ItemsRefusedError`, naming what cannot be used."""
    problems: list[Problem] = []
    for row, item_id in enumerate(catalog.item_id):
        if reason := _id_problem(item_id):
            problems.append(Problem(row, "item_id", reason))
        if np.isinf(catalog.price[row]):
            problems.append(Problem(row, "price", "must be a finite number"))
    if problems:
        raise ItemsRefusedError(problems)
    return catalog.take(_last_of_each(catalog.item_id))


def checked_users(users: Users) -> Users:
    """The people, of several rows with one id the last. Raises `UsersRefusedError`, naming what cannot be used."""
    problems = [
        Problem(row, "user_id", reason)
        for row, user_id in enumerate(users.user_id)
        if (reason := _id_problem(user_id)) is not None
    ]
    if problems:
        raise UsersRefusedError(problems)
    last = _last_of_each(users.user_id)
    return Users(users.user_id[last], {name: column[last] for name, column in users.attributes.items()})


def checked_id(identifier: str, name: str = "user_id") -> str:
    """`identifier` as it is. Raises `InputError`, naming it `name`, where it cannot be an id."""
    problem = _id_problem(identifier)
    if problem:
        raise InputError(f"{name} {identifier!r:.60} {problem}")
    return identifier


def _last_of_each(ids: TextVector) -> IntVector:
    """Rows in their order."""
    return np.sort(np.array(list({identifier: row for row, identifier in enumerate(ids)}.values()), np.int64))


def _id_problem(identifier: object) -> str | None:
    if not isinstance(identifier, str) or not identifier:
        return "must be text that is not empty"
    if len(identifier) > MAX_ID_LENGTH:
        return f"must be at most {MAX_ID_LENGTH} characters long"
    if _UNUSABLE.search(identifier):
        return "must hold no control characters and no halves of surrogate pairs"
    return None
