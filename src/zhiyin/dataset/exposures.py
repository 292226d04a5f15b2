"""What was shown, from the log of events and from the lists that were served."""

from collections.abc import Iterable

import numpy as np

from zhiyin.core.arrays import BoolVector, IntMatrix
from zhiyin.core.events import MISSING_TIME, RATING, Events
from zhiyin.core.exposures import Exposures
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.histories import rules_of
from zhiyin.dataset.settings import PreparationSettings


def tells_shown(events: Events, settings: PreparationSettings) -> BoolVector:
    """(n,) whether each event says no more than that its item was there to be seen."""
    rules, inverse = rules_of(events, settings)
    told: BoolVector = np.array([rule.weight == 0 and not rule.seen for rule in rules], np.bool_)[inverse]
    told &= events.event != RATING
    return told


def exposures_of(batches: Iterable[Events], users: Vocabulary, items: Vocabulary) -> Exposures | None:
    """None of no events; those of other users and items, and those of unknown time, are left out."""
    owner, rows, places, times = np.concatenate([_known(events, users, items) for events in batches], axis=1)
    if not len(owner):
        return None
    order = np.lexsort((places, times, owner))
    counts = np.bincount(owner, minlength=len(users))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Exposures(indptr, rows[order], np.maximum(places[order], 0), times[order])


def _known(events: Events, users: Vocabulary, items: Vocabulary) -> IntMatrix:
    """(4, n) rows of user and item, place and time."""
    user_rows, item_rows = users.rows(events.user_id), items.rows(events.item_id)
    kept = (user_rows != UNKNOWN) & (item_rows != UNKNOWN) & (events.timestamp != MISSING_TIME)
    return np.stack([user_rows, item_rows, events.position, events.timestamp])[:, kept]
