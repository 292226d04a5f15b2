"""Users as requests see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from zhiyin.app.serving.recording import checked_id
from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import IntVector, TextVector
from zhiyin.core.dataset import Query
from zhiyin.core.events import Events
from zhiyin.core.histories import History
from zhiyin.core.stores import Stores
from zhiyin.dataset.features import user_vector
from zhiyin.dataset.histories import told_of

SEEN_EVENTS = 20_000
"""Events read to know what a user has seen; more than a query carries, so that old favourites do not come back."""


@dataclass(frozen=True, eq=False)
class Person:
    """query: the question that stands after the latest events of the log. kinds: (n,) of the events of its history.
    seen: rows that count as seen, some more than once.

    visiting: whether the log holds nothing that they like, so that all there may be is told in this request.
    """

    user_id: str
    kinds: TextVector
    query: Query
    seen: IntVector
    visiting: bool = False

    @cached_property
    def likes(self) -> bool:
        return _likes(self.query.history)


def person_of(user_id: str, state: ServingState, stores: Stores, now: int) -> Person:
    """The user as `stores` know them. Raises `InputError` for an id that cannot be one."""
    return people_of([(checked_id(user_id), ())], state, stores, now)[0]


def people_of(
    asked: Sequence[tuple[str, Sequence[str]]], state: ServingState, stores: Stores, now: int
) -> list[Person]:
    """Users with items that they say besides that they like: as `stores` know them, read together."""
    user_ids = list(dict.fromkeys(user_id for user_id, _ in asked))
    events = stores.events.histories(user_ids, SEEN_EVENTS)
    stored = dict(zip(user_ids, _told(events, user_ids, state, stores, now), strict=True))
    people = []
    for user_id, liked in asked:
        person = stored[user_id]
        if liked:
            told = Events.build(
                user_id=[user_id] * len(liked), item_id=list(liked), event="like", timestamp=[now] * len(liked)
            )
            whole = Events.concat([events.take(events.user_id == user_id), told])
            (saying,) = _told(whole, [user_id], state, stores, now)
            person = replace(saying, visiting=person.visiting)
        people.append(person)
    return people


def _told(events: Events, user_ids: Sequence[str], state: ServingState, stores: Stores, now: int) -> list[Person]:
    system, people = state.system, []
    logs = told_of(events, user_ids, state.items, system.settings, system.rating_scale)
    for user_id, log in zip(user_ids, logs, strict=True):
        features = None
        if system.user_columns:
            features = user_vector(system.user_columns, stores.users.attributes(user_id))
        query, visiting = Query(log.history, now, features), not _likes(log.history)
        people.append(Person(user_id, log.kinds, query, log.seen, visiting))
    return people


def _likes(history: History) -> bool:
    # A history of nothing but dislikes tells a model what to avoid, not what to offer.
    return bool((history.weights > 0).any())
