"""Scores of any scale as standings among the items of a catalogue, so that models can be added up.

    standing_i = K / (K + rank_i)    rank_i: how many known items score higher, 0 for the best

after reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009). The few that a model is surest of stand out,
and what it says of the many that no list would hold counts next to nothing. A new item stands where it would among the
known ones, between two of them by interpolation and above them all by how far it is ahead: new items move no known one.
"""

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector

K = 20.0
TOP = 10
"""Known items whose spread measures how far a new one is ahead of them all."""


def standings(scores: FloatMatrix, known: BoolVector) -> FloatMatrix:
    """(n, items) float64, of scores (n, items) with `known` (items,)."""
    found = np.empty(scores.shape)
    for row, mine in enumerate(np.asarray(scores, np.float64)):
        found[row] = K / (K + _ranks(mine, known))
    return found


def _ranks(scores: FloatVector, known: BoolVector) -> FloatVector:
    """From 0; those of new items that are ahead of all known ones lie between -K/2 and 0."""
    ordered, count = np.unique(-scores[known], return_counts=True)
    if not len(ordered):
        return np.zeros(len(scores))
    places = np.cumsum(count) - count
    ranks = np.interp(-scores, ordered, places)
    spread = ordered[min(TOP, len(ordered)) - 1] - ordered[0]
    ahead = np.maximum(ordered[0] + scores, 0.0)
    standing: FloatVector = ranks - np.minimum(TOP * ahead / (spread + 1e-12), K / 2)
    return standing
