"""What was shown, from the log of events and from the lists that were served."""

import numpy as np

from zhiyin.core.arrays import BoolVector
from zhiyin.core.events import MISSING_TIME, Events
from zhiyin.core.exposures import Exposures
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.settings import PreparationSettings


def tells_shown(events: Events, settings: PreparationSettings) -> BoolVector:
    """(n,) whether each event says no more than that its item was there to be seen."""
    kinds, inverse = np.unique(events.event.astype(str), return_inverse=True)
    rules = {str(kind): settings.rule(str(kind)) for kind in kinds}
    told = [kind != "rating" and rule.weight == 0 and not rule.seen for kind, rule in rules.items()]
    return np.array(told, np.bool_)[inverse]


def exposures_of(events: Events, users: Vocabulary, items: Vocabulary) -> Exposures | None:
    """None of no events; those of other users and items, and those of unknown time, are left out."""
    user_rows, item_rows = users.rows(events.user_id), items.rows(events.item_id)
    kept = np.flatnonzero((user_rows != UNKNOWN) & (item_rows != UNKNOWN) & (events.timestamp != MISSING_TIME))
    if not len(kept):
        return None
    order = kept[np.lexsort((events.position[kept], events.timestamp[kept], user_rows[kept]))]
    counts = np.bincount(user_rows[order], minlength=len(users))
    return Exposures(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item_rows[order],
        np.maximum(events.position[order], 0),
        events.timestamp[order],
    )
