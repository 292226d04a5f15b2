"""A user as one request sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

from zhiyin.app.serving.recording import checked_id
from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.events import Events
from zhiyin.core.stores import Stores
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.dataset.histories import seen_mask

SEEN_EVENTS = 20_000
"""Events read to know what a user has seen; more than a query carries, so that old favourites do not come back."""


@dataclass(frozen=True, eq=False)
class Person:
    """events: the latest of the log. rows: of their items, `UNKNOWN` where the system knows none. query: the question
    that stands after them. seen: rows that count as seen, some more than once.

    visiting: whether the log holds nothing that they like, so that all there may be is told in this request.
    """

    user_id: str
    events: Events
    rows: IntVector
    query: Query
    seen: IntVector
    visiting: bool = False

    @property
    def likes(self) -> bool:
        # A history of nothing but dislikes tells a model what to avoid, not what to offer.
        return bool((self.query.history.weights > 0).any())


def person_of(user_id: str, state: ServingState, stores: Stores, now: int, liked: Sequence[str] = ()) -> Person:
    """The user as `stores` know them, who tells besides that they like the items `liked`.

    Raises `InputError` for an id that cannot be one.
    """
    system, log = state.system, stores.events.history(checked_id(user_id), SEEN_EVENTS)
    attributes = stores.users.attributes(user_id) if system.user_columns else {}
    query = stored = system.query(log, now, attributes, state.items)
    if liked:
        told = Events.build(
            user_id=[user_id] * len(liked),
            item_id=[checked_id(item_id, "item_id") for item_id in liked],
            event="like",
            timestamp=[now] * len(liked),
        )
        log = Events.concat([log, told])
        query = system.query(log, now, attributes, state.items)
    rows = state.items.rows(log.item_id)
    seen = rows[seen_mask(log, system.settings) & (rows != UNKNOWN)]
    return Person(user_id, log, rows, query, seen, visiting=not (stored.history.weights > 0).any())
