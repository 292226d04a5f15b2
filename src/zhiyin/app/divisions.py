"""How the data is divided for a comparison: what chooses, and what tests the choice."""

from dataclasses import dataclass, replace

import numpy as np

from zhiyin.app.selection import ASKED, TEST_START, VALIDATION_START, validation_split
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import InputError
from zhiyin.dataset.splits import leave_one_out_split, next_event_split, time_split, user_holdout_split

TESTED = {
    "next": "next event, what came before it known: chosen between 80 % and 90 % of the events, refitted before 90 %, "
    "tested on each user's last one after",
    "time": "by time: chosen on the events between 80 % and 90 %, refitted before 90 %, tested on the rest",
    "leave-one-out": "leave-one-out: chosen on each user's last event but one, refitted before the last, tested on it",
    "random": "users at random: a fifth of them chose, all but another fifth refitted, that fifth tests",
}
VALIDATED = {
    "next": "validation figures, next event, what came before it known: each user's last one between 80 % and 90 %",
    "time": "validation figures, by time: the events between 80 % and 90 %",
    "leave-one-out": "validation figures, leave-one-out: each user's last event",
    "random": "validation figures, users at random: a fifth of them",
}

MOST_ASKED = 10_000
"""Users who tell models apart to about .002 of NDCG@10; to ask a million would tell little more, and take the time."""


@dataclass(frozen=True, eq=False)
class Divisions:
    """validation: on which settings and model are chosen. test: on which nothing is; None where the data has no room.

    protocol: how they were divided. words: what the figures are of. notes: what could not be done, and why.
    """

    validation: Split
    test: Split | None
    protocol: str
    words: str
    notes: tuple[str, ...] = ()


def divisions(data: Dataset, protocol: str, seed: int) -> Divisions:
    """A test part, and within what it leaves a validation part. Raises `InputError` where the data has no room."""
    if protocol == "next":
        inner, outer = next_event_split(data, VALIDATION_START, TEST_START), next_event_split(data, TEST_START)
    elif protocol == "time":
        inner, outer = time_split(data, VALIDATION_START, TEST_START), time_split(data, TEST_START)
    elif protocol == "leave-one-out":
        inner, outer = leave_one_out_split(data, "validation"), leave_one_out_split(data)
    elif protocol == "random":
        outer = user_holdout_split(data, 0.2, seed)
        inner = user_holdout_split(outer.train, 0.25, seed + 1)
    else:
        raise InputError(f"unknown protocol {protocol!r}; choose {', '.join(TESTED)}")
    return Divisions(inner, outer, protocol, TESTED[protocol])


def possible_divisions(data: Dataset, protocol: str, seed: int) -> Divisions | None:
    """`divisions`, or the nearest to it that the data allows, which its notes say; None where it allows nothing.

    Of more than `MOST_ASKED` users each part asks so many, drawn at random. Where few users have a next event in the
    time for it, everybody's last event is asked about instead.
    """
    if protocol not in TESTED:
        raise InputError(f"unknown protocol {protocol!r}; choose {', '.join(TESTED)}")
    order = tuple(dict.fromkeys((protocol, "leave-one-out")))
    notes: list[str] = []
    found: list[Divisions] = []
    for name in order:
        try:
            found.append(divisions(data, name, seed))
        except InputError as error:
            notes.append(f"No test {name}: {error}.")
            continue
        if protocol != "next" or _asked(found[-1]) >= ASKED:
            break
    if found:
        best = max(found, key=_asked)
        if best.protocol != protocol and found[0].protocol == protocol:
            notes.append(f"No test {protocol}: it asks {_asked(found[0]):,} users, {best.protocol} {_asked(best):,}.")
        return _asking_some(replace(best, notes=tuple(notes)), seed)
    for name in order:
        try:
            validation = validation_split(data, name, seed)
            return _asking_some(Divisions(validation, None, name, VALIDATED[name], tuple(notes)), seed)
        except InputError as error:
            notes.append(f"No validation {name}: {error}.")
    return None


def drawn(split: Split, generator: np.random.Generator) -> Split:
    """The split as it is, or of more than `MOST_ASKED` users so many, drawn at random."""
    users = len(split.holdout)
    if users <= MOST_ASKED:
        return split
    some = np.sort(generator.choice(users, MOST_ASKED, replace=False))
    return replace(split, holdout=split.holdout.take(some))


def _asking_some(parts: Divisions, seed: int) -> Divisions:
    generator = np.random.default_rng(seed)
    notes = list(parts.notes)

    def some(split: Split, what: str) -> Split:
        fewer = drawn(split, generator)
        if fewer is not split:
            notes.append(f"{what} asks {MOST_ASKED:,} of {len(split.holdout):,} users, drawn at random.")
        return fewer

    validation = some(parts.validation, "Validation")
    test = None if parts.test is None else some(parts.test, "The test")
    return replace(parts, validation=validation, test=test, notes=tuple(notes))


def _asked(parts: Divisions) -> int:
    """Users that the smaller of the two parts asks."""
    return min(len(split.holdout) for split in (parts.validation, parts.test) if split is not None)
