"""Cleaning that needs more of the log than one row: named steps, each of which reports what it took out and why.

`bots` needs all that a user did, so it applies where models are fitted and compared; a bot that asks for a list gets
one. `repeats` needs no more than a user's later events, so it applies to every history, in training and in serving.
"""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Removal
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.dataset.settings import PreparationSettings

_SECOND, _HOUR, _DAY = 1_000, 3_600_000, 86_400_000


def clean(events: Events, settings: PreparationSettings) -> tuple[Events, tuple[Removal, ...]]:
    """What the steps of `settings.cleaning` leave, and what each took out of what the one before had left."""
    removals: list[Removal] = []
    for name in settings.cleaning:
        taken = _STEPS[name](events, settings)
        removals += [Removal(name, why, len(set(events.user_id[rows])), len(rows)) for why, rows in taken.items()]
        events = events.take(np.delete(np.arange(len(events)), np.concatenate(list(taken.values()))))
    return events, tuple(removals)


def without_repeats(events: Events, settings: PreparationSettings) -> Events:
    """`events` after the step `repeats`, if `settings` name it: the part of cleaning that serving shares."""
    if "repeats" not in settings.cleaning:
        return events
    return clean(events, settings.model_copy(update={"cleaning": ("repeats",)}))[0]


def bots(events: Events, settings: PreparationSettings) -> dict[str, IntVector]:
    """Limit of `settings.bots` -> rows of the users who break it; a user who breaks several is named by the first.

    Hours and days are those of the clock in UTC. Events without a time count nowhere, nor do kinds of weight 0: a list
    that was shown tells of whoever shows it.
    """
    limits = settings.bots
    rows = _rows(events)
    told = _timed(rows, lambda kind: settings.rule(kind).weight != 0)
    told = told.with_columns(second=pl.col("time") // _SECOND, hour=pl.col("time") // _HOUR, day=pl.col("time") // _DAY)
    days = told.group_by("user", "day").agg(events=pl.len(), hours=pl.col("hour").n_unique())
    hours = told.group_by("user", "hour").agg(seconds=pl.col("second").n_unique())
    broken = {
        f"more than {limits.events_a_day:,} events in a day": days.filter(pl.col("events") > limits.events_a_day),
        f"active in more than {limits.hours_a_day} hours of a day": days.filter(pl.col("hours") > limits.hours_a_day),
        f"active in more than {limits.seconds_an_hour:,} seconds of an hour": hours.filter(
            pl.col("seconds") > limits.seconds_an_hour
        ),
    }
    taken = {}
    for why, users in broken.items():
        mine = pl.col("user").is_in(users["user"].implode())
        taken[why] = rows.filter(mine)["row"].to_numpy()
        rows = rows.filter(~mine)
    return taken


def repeats(events: Events, settings: PreparationSettings) -> dict[str, IntVector]:
    """Rows after which the same user did the same to the same item within `settings.repeat_seconds`: the last stays.

    Kinds that count by their value are left alone, for their values add up; so are events without a time.
    """
    rows = _rows(events)
    timed = _timed(rows, lambda kind: not settings.rule(kind).per_value)
    following = pl.col("time").shift(-1).over("user", "item", "event")
    soon = following - pl.col("time") <= settings.repeat_seconds * _SECOND
    why = f"again within {settings.repeat_seconds:g} s"
    return {why: timed.sort("time", "sequence").filter(soon)["row"].to_numpy()}


_STEPS: Mapping[str, Callable[[Events, PreparationSettings], dict[str, IntVector]]] = {"bots": bots, "repeats": repeats}


def _rows(events: Events) -> pl.DataFrame:
    texts = {
        name: pl.Series(column, dtype=pl.String)
        for name, column in (("user", events.user_id), ("item", events.item_id), ("event", events.event))
    }
    time = pl.Series(events.timestamp).replace(MISSING_TIME, None)
    return pl.DataFrame({**texts, "time": time, "sequence": events.sequence, "row": np.arange(len(events))})


def _timed(rows: pl.DataFrame, chosen: Callable[[str], bool]) -> pl.DataFrame:
    kinds = [kind for kind in rows["event"].unique() if chosen(kind)]
    return rows.filter(pl.col("time").is_not_null() & pl.col("event").is_in(kinds))
