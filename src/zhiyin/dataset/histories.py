"""Events become histories: one rule for training and for serving."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector, TextVector
from zhiyin.core.events import RATING, Events
from zhiyin.core.histories import Histories, History, liking
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.cleaning import without_repeats
from zhiyin.dataset.settings import EventRule, PreparationSettings


def ratings_of(events: Events) -> FloatVector:
    """(n,) float32: the value of each rating, NaN for every other kind of event."""
    return np.where(events.event == RATING, events.value, np.nan).astype(np.float32)


def rating_scale_of(events: Events, settings: PreparationSettings) -> tuple[float, float] | None:
    """Lowest and highest rating: as set, else as found; None where nobody rated."""
    if settings.rating_scale is not None:
        return settings.rating_scale
    ratings = ratings_of(events)
    known = ratings[~np.isnan(ratings)]
    return (float(known.min()), float(known.max())) if len(known) else None


def rules_of(events: Events, settings: PreparationSettings) -> tuple[list[EventRule], IntVector]:
    """The rules of the kinds that there are, and (n,) the place of each event's among them."""
    kinds, inverse = events.kinds
    return [settings.rule(kind) for kind in kinds], inverse


def weights_of(events: Events, settings: PreparationSettings, rating_scale: tuple[float, float] | None) -> FloatVector:
    """(n,) float32: what each event says of preference, by the rule of its kind."""
    rules, inverse = rules_of(events, settings)
    weights = np.array([rule.weight for rule in rules], np.float64)[inverse]
    per_value = np.array([rule.per_value for rule in rules], np.bool_)[inverse]
    weights = np.where(per_value & ~np.isnan(events.value), weights * events.value, weights)
    if settings.rating_rule == "scale" and rating_scale is not None:
        ratings = ratings_of(events)
        weights = np.where(np.isnan(ratings), weights, weights * (2 * liking(ratings, rating_scale) - 1))
    return weights.astype(np.float32)


def speaks(events: Events, weights: FloatVector) -> BoolVector:
    """(n,) whether each event belongs in a history: it has a weight, or it is a rating, whatever its weight."""
    belongs: BoolVector = (weights != 0) | ~np.isnan(ratings_of(events))
    return belongs


def seen_mask(events: Events, settings: PreparationSettings) -> BoolVector:
    """(n,) whether each event makes its item known to the user."""
    rules, inverse = rules_of(events, settings)
    return np.array([rule.seen for rule in rules], np.bool_)[inverse]


@dataclass(frozen=True, eq=False)
class Told:
    """What the log tells of one user. kinds: (n,) of the events of `history`. seen: rows of items that count as seen,
    some more than once.
    """

    history: History
    kinds: TextVector
    seen: IntVector


def told_of(
    events: Events,
    users: Sequence[str],
    items: Vocabulary,
    settings: PreparationSettings,
    rating_scale: tuple[float, float] | None,
) -> list[Told]:
    """Of each of the `users`, who are named once, what `events` of theirs in any order tell; a history holds at most
    `settings.history_limit` known items.
    """
    events = without_repeats(events, settings)
    places = {user: place for place, user in enumerate(users)}
    owners = np.fromiter((places[user] for user in events.user_id), np.int64, len(events))
    # The log's own order settles ties and stands in where times are missing.
    order = np.lexsort((events.sequence, events.timestamp, owners))
    rows, ratings = items.rows(events.item_id)[order], ratings_of(events)[order]
    weights = weights_of(events, settings, rating_scale)
    known = rows != UNKNOWN
    belongs, seen = known & speaks(events, weights)[order], known & seen_mask(events, settings)[order]
    weights = weights[order]
    times, kinds = events.timestamp[order], events.event[order]
    ends = np.cumsum(np.bincount(owners, minlength=len(users))).tolist()
    told = []
    for start, end in zip([0, *ends], ends, strict=False):
        mine = slice(start, end)
        kept = start + np.flatnonzero(belongs[mine])[-settings.history_limit :]
        history = History(rows[kept], weights[kept], ratings[kept], times[kept])
        told.append(Told(history, kinds[kept], rows[mine][seen[mine]]))
    return told


def history_of(
    events: Events,
    items: Vocabulary,
    settings: PreparationSettings,
    rating_scale: tuple[float, float] | None,
) -> History:
    """One user's `events` as a history, as `told_of` makes it."""
    (told,) = told_of(events, list(events.user_id[:1]) or [""], items, settings, rating_scale)
    return told.history


def histories_of(
    events: Events,
    users: Vocabulary,
    items: Vocabulary,
    settings: PreparationSettings,
    rating_scale: tuple[float, float] | None,
) -> Histories:
    """Every user's events; rows follow the two vocabularies, events of others are left out."""
    user_rows, item_rows = users.rows(events.user_id), items.rows(events.item_id)
    weights = weights_of(events, settings, rating_scale)
    keep = np.flatnonzero((user_rows != UNKNOWN) & (item_rows != UNKNOWN) & speaks(events, weights))
    order = keep[np.lexsort((events.sequence[keep], events.timestamp[keep], user_rows[keep]))]
    counts = np.bincount(user_rows[order], minlength=len(users))
    indptr: IntVector = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    names, kinds = events.kinds
    return Histories(
        indptr,
        item_rows[order],
        weights[order],
        ratings_of(events)[order],
        events.timestamp[order],
        seen_mask(events, settings)[order],
        kinds[order].astype(np.int32),
        names,
    )
