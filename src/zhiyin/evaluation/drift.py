"""What came in since a system was trained, beside what it was trained on."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import jensenshannon

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.vocabulary import UNKNOWN


@dataclass(frozen=True)
class Drift:
    """events: that came since. share: of all events. newcomers, new_items: shares of them, of people who had none
    before and on items that the system does not know.

    distance: Jensen-Shannon distance (base 2, 0 to 1) of what people take since from what they took in as many events
    just before (Lin, 1991). usual: that of those from as many before them, which is what chance and habit make of it.
    NaN where there are too few.
    """

    events: int
    share: float
    newcomers: float
    new_items: float
    distance: float
    usual: float


def drift_since(data: Dataset, moment: int, places: IntVector) -> Drift:
    """What `data` holds from the epoch ms `moment` on, beside what came before.

    places: (n_items,) of the items in the system, or `UNKNOWN`.
    """
    histories = data.histories
    likes = (histories.weights > 0) & (histories.timestamps != MISSING_TIME)
    late = likes & (histories.timestamps >= moment)
    known = np.bincount(histories.users[~late], minlength=len(histories)) > 0
    earlier = np.flatnonzero(likes & ~late)
    earlier = earlier[np.argsort(histories.timestamps[earlier], kind="stable")]
    n, end = min(int(late.sum()), len(earlier) // 2), len(earlier)
    spans = (np.flatnonzero(late), earlier[end - n :], earlier[end - 2 * n : end - n])
    since, before, long_before = (np.bincount(histories.items[rows], minlength=len(data.items)) for rows in spans)
    return Drift(
        events=int(late.sum()),
        share=float(late.mean()),
        newcomers=_share(~known[histories.users[late]]),
        new_items=_share(places[histories.items[late]] == UNKNOWN),
        distance=_distance(since, before),
        usual=_distance(before, long_before),
    )


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else float("nan")


def _distance(counts: IntVector, others: IntVector) -> float:
    return float(jensenshannon(counts, others, base=2)) if counts.any() and others.any() else float("nan")
