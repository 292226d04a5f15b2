"""A user as one request sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.app.serving.recording import checked_id
from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.events import Events
from zhiyin.core.stores import Stores
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.dataset.histories import seen_mask

PERSONAL, POPULAR = "personal", "popular"

SEEN_EVENTS = 20_000
"""Events read to know what a user has seen; more than a query carries, so that old favourites do not come back."""


@dataclass(frozen=True, eq=False)
class Person:
    """events: the latest of the log. query: the question that stands after them. seen: rows that count as seen."""

    user_id: str
    events: Events
    query: Query
    seen: IntVector

    @property
    def rung(self) -> str:
        # A history of nothing but dislikes tells a model what to avoid, not what to offer.
        return PERSONAL if (self.query.history.weights > 0).any() else POPULAR


def person_of(user_id: str, state: ServingState, stores: Stores, now: int, liked: Sequence[str] = ()) -> Person:
    """The user as `stores` know them, who tells besides that they like the items `liked`.

    Raises `InputError` for an id that cannot be one.
    """
    log = stores.events.history(checked_id(user_id), SEEN_EVENTS)
    if liked:
        told = Events.build(
            user_id=[user_id] * len(liked),
            item_id=[checked_id(item_id, "item_id") for item_id in liked],
            event="like",
            timestamp=[now] * len(liked),
        )
        log = Events.concat([log, told])
    system, rows = state.system, state.items.rows(log.item_id)
    seen = np.unique(rows[seen_mask(log, system.settings) & (rows != UNKNOWN)])
    attributes = stores.users.attributes(user_id) if system.user_columns else {}
    return Person(user_id, log, system.query(log, now, attributes, state.items), seen)
