"""Scores of any scale as standings among the items of a catalogue, so that models can be added up.

Of known items there are two forms, both with a standard deviation of 1 among them:

    "ranks"         K / (K + rank_i) / spread of those          rank_i: how many score higher, 0 for the best
    "deviations"    (score_i - mean) / spread                   mean and standard deviation of their scores

The first is reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): the few that a model is surest of stand out,
and what it says of the many that no list would hold counts next to nothing. Behind the best thousand, ranks are
therefore told from scores, as if these were spread evenly down to the lowest, which is quicker than to sort them all.
The second keeps how far an item is ahead, which models that count what goes together know well, and models whose scores
are logarithms do not.

New items are told apart by how much they are ahead or behind, in either form, which ranks among the known ones would
not say: most would lie behind all of those that count.

    standing_i = standing of the best known one + (score_i - best score) / spread
"""

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector

K = 20.0
FORMS = ("ranks", "deviations")

RANKED = 1_000
"""Items whose ranks are counted."""

SAMPLE = 500


def standings(scores: FloatMatrix, known: BoolVector, form: str) -> FloatMatrix:
    """(n, items) float64, of scores (n, items) with `known` (items,). New items move no known one."""
    found = np.empty(scores.shape)
    old, new = np.flatnonzero(known), np.flatnonzero(~known)
    for row, mine in enumerate(np.asarray(scores, np.float64)):
        others = mine[old] if len(new) else mine
        if not len(others):
            found[row] = mine
        elif form == "deviations":
            found[row] = (mine - others.mean()) * steepness(others)
        else:
            ranked = _reciprocal(others)
            ranked *= steepness(ranked)
            found[row, old] = ranked
            if len(new):
                found[row, new] = ranked.max() + (mine[new] - others.max()) * steepness(others)
    return found


def steepness(scores: FloatVector) -> float:
    """What a score of one more counts, where those of known items are `scores`; 0 where all are equal."""
    spread = float(scores.std()) if len(scores) else 0.0
    return 1.0 / spread if spread else 0.0


def places(scores: FloatVector) -> IntVector:
    """(n,) how many of the `scores` (n,) are higher."""
    return np.searchsorted(np.sort(-scores), -scores)


def _reciprocal(scores: FloatVector) -> FloatVector:
    """(n,) K / (K + rank), of those that are behind the best `RANKED` as their scores let expect."""
    bar = _bar(scores)
    ahead, level = np.flatnonzero(scores > bar), np.flatnonzero(scores == bar)
    first, depth = len(ahead) + len(level), bar - scores.min()
    below = np.maximum(bar - scores, 0.0) / depth if depth else np.zeros(len(scores))
    found: FloatVector = K / (K + first + (len(scores) - first) * below)
    found[level] = K / (K + len(ahead))
    found[ahead] = K / (K + places(scores[ahead]))
    return found


def _bar(scores: FloatVector) -> float:
    """The score of place `RANKED`, or the lowest one of fewer.

    Most of a catalogue is below one that a sample of it puts in about twice that place, and need not be sorted.
    """
    n = len(scores)
    if n > 2 * RANKED:
        some = np.sort(scores[:: n // SAMPLE])
        low = some[max(0, len(some) - 2 * RANKED * len(some) // n - 1)]
        above = scores[scores > low]
        if len(above) >= RANKED:
            scores = above
        elif len(above) + np.count_nonzero(scores == low) >= RANKED:
            return float(low)
    return float(np.sort(scores)[-RANKED:][0])
