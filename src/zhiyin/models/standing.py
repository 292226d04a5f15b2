"""Scores of any scale as standings among the items of a catalogue, so that models can be added up.

    standing_i = K / (K + rank_i)                 of a known item; rank_i: how many of them score higher, 0 for the best
    standing_i = 1 + (score_i - best) / spread    of a new one; best score and standard deviation of the known ones

The first is reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): the few that a model is surest of stand out,
and what it says of the many that no list would hold counts next to nothing. New items are told apart by how much they
are ahead or behind, which ranks among the known ones would not say: most would lie behind all of those that count.
"""

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector

K = 20.0


def standings(scores: FloatMatrix, known: BoolVector) -> FloatMatrix:
    """(n, items) float64, of scores (n, items) with `known` (items,). New items move no known one."""
    found = np.empty(scores.shape)
    for row, mine in enumerate(np.asarray(scores, np.float64)):
        others = mine[known]
        found[row, known] = K / (K + _ranks(others))
        best = others.max() if len(others) else 0.0
        found[row, ~known] = 1.0 + (mine[~known] - best) * steepness(others)
    return found


def steepness(scores: FloatVector) -> float:
    """What a score of one more counts for a new item, where those of known ones are `scores`; 0 where all are equal."""
    spread = float(scores.std()) if len(scores) else 0.0
    return 1.0 / spread if spread else 0.0


def _ranks(scores: FloatVector) -> FloatVector:
    """From 0; equal for equal scores."""
    _, place, count = np.unique(-scores, return_inverse=True, return_counts=True)
    ranks: FloatVector = (np.cumsum(count) - count)[place].astype(np.float64)
    return ranks
