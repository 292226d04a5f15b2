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

LEAST_DEPTH = 1e-290
"""Scores that differ by less are equal: what one more would count is no number any more."""


def standings(scores: FloatMatrix, known: BoolVector, form: str) -> FloatMatrix:
    """(n, items) float64, of scores (n, items) with `known` (items,). New items move no known one."""
    found = np.empty(scores.shape)
    new = ~known
    arrived = bool(new.any())
    scores = np.asarray(scores, np.float64)
    for row, mine in enumerate(scores):
        if row and np.array_equal(mine, scores[row - 1]):
            # As of a model that says the same of everybody.
            found[row] = found[row - 1]
            continue
        others = mine[known] if arrived else mine
        if not len(others):
            found[row] = mine
        elif form == "deviations":
            found[row] = (mine - others.mean()) * steepness(others)
        elif not arrived:
            found[row] = _ranked(others)
        else:
            ranked, line = _ranked(others), found[row]
            line[known] = ranked
            line[new] = ranked.max() + (mine[new] - others.max()) * steepness(others)
    return found


def steepness(scores: FloatVector) -> float:
    """What a score of one more counts, where those of known items are `scores`; 0 where all are equal."""
    if not len(scores):
        return 0.0
    apart = scores - scores.mean()
    squares = float(apart @ apart)
    return float(np.sqrt(len(scores) / squares)) if squares else 0.0


def places(scores: FloatVector) -> IntVector:
    """(n,) how many of the `scores` (n,) are higher."""
    falling, order = -scores, np.argsort(-scores)
    falling, place, found = falling[order], np.arange(len(scores)), np.empty(len(scores), np.int64)
    if (falling[1:] == falling[:-1]).any():
        place = np.searchsorted(falling, falling)
    found[order] = place
    return found


def _ranked(scores: FloatVector) -> FloatVector:
    ranked = _reciprocal(scores)
    ranked *= steepness(ranked)
    return ranked


def _reciprocal(scores: FloatVector) -> FloatVector:
    """(n,) K / (K + rank), of those that are behind the best `RANKED` as their scores let expect."""
    n, (bar, ahead, level) = len(scores), _parted(scores)
    first, depth = len(ahead) + len(level), bar - scores.min()
    fall = (n - first) / depth if depth > LEAST_DEPTH else 0.0
    # K + first + (n - first) (bar - score) / depth, in place: this is done for every item of every list.
    found: FloatVector = scores * -fall
    found += K + first + fall * bar
    np.maximum(found, K, out=found)
    np.divide(K, found, out=found)
    found[level] = K / (K + len(ahead))
    found[ahead] = K / (K + places(scores.take(ahead)))
    return found


def _parted(scores: FloatVector) -> tuple[float, IntVector, IntVector]:
    """The score of place `RANKED`, or the lowest one of fewer, and the rows of those above it and of its equals.

    Most of a catalogue is below one that a sample of it puts in about twice that place, and need not be sorted.
    """
    n, high = len(scores), None
    if n > 2 * RANKED:
        some = np.sort(scores[:: n // SAMPLE])
        low = some[max(0, len(some) - 2 * RANKED * len(some) // n - 1)]
        above = np.flatnonzero(scores > low)
        if len(above) >= RANKED:
            high = above
        elif len(above) + len(level := np.flatnonzero(scores == low)) >= RANKED:
            return float(low), above, level
    told = scores if high is None else scores.take(high)
    place = max(0, len(told) - RANKED)
    bar = float(np.partition(told, place)[place])
    above, level = np.flatnonzero(told > bar), np.flatnonzero(told == bar)
    return (bar, above, level) if high is None else (bar, high.take(above), high.take(level))
