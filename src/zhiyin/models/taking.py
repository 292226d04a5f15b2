"""How readily items are taken when they are shown: takes over expected takes (after Zhang and Jones, 2007).

    appeal_i = log (S + takes of i) / (S + sum over the times that i was shown of the rate of its place)

The rate of a place is the share of all that was shown there which was taken, so that an item does not gain by having
stood in front. S is worth so many takes of an item of which nothing is known.
"""

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector
from zhiyin.core.exposures import Exposures
from zhiyin.core.histories import DAY, Histories

STEADY = 1.0
PLACES = 100
"""Later places of a list are taken alike."""


def appeal_when_shown(exposures: Exposures, histories: Histories, n_items: int) -> FloatVector:
    """(n_items,); 0 of what was never shown. What a user was shown after their last event nobody may have looked at."""
    users = np.repeat(np.arange(len(exposures.indptr) - 1), np.diff(exposures.indptr))
    latest = np.full(len(histories), np.iinfo(np.int64).min)
    latest[histories.users] = histories.timestamps
    looked = exposures.timestamps <= latest[users]
    users, items, times = users[looked], exposures.items[looked], exposures.timestamps[looked]
    places = np.minimum(exposures.places[looked], PLACES)
    taken = _taken(users * n_items + items, times, histories, n_items)
    shown = np.bincount(places, minlength=PLACES + 1)
    rates = np.bincount(places, taken, PLACES + 1) / np.maximum(shown, 1)
    takes, expected = np.bincount(items, taken, n_items), np.bincount(items, rates[places], n_items)
    appeal: FloatVector = np.log((STEADY + takes) / (STEADY + expected))
    return appeal


def _taken(pairs: IntVector, times: IntVector, histories: Histories, n_items: int) -> BoolVector:
    """(n,) whether the user of each of the `pairs` of user and item liked the item within a day of its time."""
    liked = histories.weights > 0
    told = histories.users[liked] * n_items + histories.items[liked]
    keys, moments = np.concatenate([pairs, told]), np.concatenate([times, histories.timestamps[liked]])
    event = np.arange(len(keys)) >= len(pairs)
    order = np.lexsort((event, moments, keys))
    # Of each, the place of the next event behind it, which is of the same pair or of none.
    places = np.where(event[order], np.arange(len(order)), len(order))
    following = np.minimum.accumulate(places[::-1])[::-1]
    found = np.flatnonzero(following < len(order))
    here, there = order[found], order[following[found]]
    taken = np.zeros(len(keys), np.bool_)
    taken[here] = (keys[here] == keys[there]) & (moments[there] <= moments[here] + DAY)
    return taken[: len(pairs)]
