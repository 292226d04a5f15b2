"""How much each of several models says of what comes next: a multinomial logit over their scores.

For a question q with the answer a and other items C drawn at random, with score_m of the model m:

    maximise sum over q of log( exp(w . score(q, a)) / sum over {a} and C of exp(w . score(q, .)) ),   w >= 0

Known and new items have weights of their own, each fitted among its own kind. How far new items stand above or below
known ones is fitted last, over both kinds, each item drawn standing for those that were not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntMatrix, IntVector
from zhiyin.core.dataset import Holdout
from zhiyin.core.models import Model

USERS, ANSWERS, DRAWN = 2_000, 5, 200
"""At most that many users of a hold-out, answers of a user and items of a kind that an answer stands among."""

RIDGE = 1e-3
"""Of weights of scores that vary by one."""

BATCH = 128

Cube = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers with the scores that models gave them and others.

    new: (answers,) whether an answer is a new item. scores: (answers, models). others: of known and of new items,
    (answers, `DRAWN`, models) each, that the user had not seen and that are no answer. numbers: of known and new items.
    """

    new: BoolVector
    scores: FloatMatrix
    others: tuple[Cube, Cube]
    numbers: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Weighing:
    """weights: (2, models) of known and of new items, not below zero. level: what new items have besides."""

    weights: FloatMatrix
    level: float


def weighed(answers: Answers, inductive: BoolVector) -> Weighing:
    """inductive: (models,) whose scores of new items mean something; the others have no weight there."""
    known, new = answers.others
    weights = np.zeros((2, len(inductive)))
    weights[0] = _fitted(answers.scores[~answers.new], known[~answers.new])
    weights[1, inductive] = _fitted(answers.scores[answers.new][:, inductive], new[answers.new][:, :, inductive])
    return Weighing(weights, _level(answers, weights))


def answers_of(models: Sequence[Model], holdout: Holdout, known: BoolVector, generator: np.random.Generator) -> Answers:
    """known: (n_items,) which items training met."""
    kinds = np.flatnonzero(known), np.flatnonzero(~known)
    chosen = np.sort(generator.permutation(len(holdout))[:USERS])
    rows: list[tuple[BoolVector, FloatMatrix, Cube, Cube]] = []
    for start in range(0, len(chosen), BATCH):
        users = chosen[start : start + BATCH].tolist()
        scores = np.stack([model.score([holdout.queries[user] for user in users]) for model in models], axis=2)
        for mine, user in zip(scores, users, strict=True):
            targets = generator.permutation(holdout.targets[user])[:ANSWERS]
            free = np.ones(len(known), np.bool_)
            free[holdout.seen[user]] = free[holdout.targets[user]] = False
            others = [mine[_drawn(kind[free[kind]], len(targets), generator)] for kind in kinds]
            rows.append((~known[targets], mine[targets], others[0], others[1]))
    new, found, beside_known, beside_new = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Answers(new, found, (beside_known, beside_new), (len(kinds[0]), len(kinds[1])))


def _drawn(items: IntVector, n: int, generator: np.random.Generator) -> IntMatrix:
    """(n, `DRAWN`) of `items`, none where there are none."""
    return generator.choice(items, (n, DRAWN)) if len(items) else np.zeros((n, 0), np.int64)


def _fitted(found: FloatMatrix, others: Cube) -> FloatVector:
    """(models,) weights by which the answers `found` (n, models) stand out among `others`; 1 each where none tell."""
    if not found.size or not others.size:
        return np.ones(found.shape[1])
    spread = others.reshape(-1, others.shape[2]).std(axis=0)
    spread[spread == 0] = 1.0
    ahead = (others - found[:, None]) / spread

    def loss(weights: FloatVector) -> tuple[float, FloatVector]:
        logits = np.concatenate([np.zeros((len(found), 1)), ahead @ weights], axis=1)
        missed = softmax(logits, axis=1)[:, 1:]
        gradient = np.einsum("nk,nkm->m", missed, ahead) / len(found) + 2 * RIDGE * weights
        return float(-log_softmax(logits, axis=1)[:, 0].mean() + RIDGE * weights @ weights), gradient

    start = np.ones(found.shape[1])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(start))
    fitted: FloatVector = best.x / spread
    return fitted


def _level(answers: Answers, weights: FloatMatrix) -> float:
    """0 where answers are of one kind."""
    if answers.new.all() or not answers.new.any():
        return 0.0
    found = (answers.scores * weights[answers.new.astype(int)]).sum(axis=1)
    # An item drawn stands for as many of its kind as were not.
    known, new = (
        logsumexp(others @ weights[kind], axis=1) + np.log(number / DRAWN)
        for kind, (others, number) in enumerate(zip(answers.others, answers.numbers, strict=True))
    )

    def loss(level: float) -> float:
        lifted = found + level * answers.new
        return float((np.logaddexp(lifted, np.logaddexp(known, new + level)) - lifted).mean())

    return float(minimize_scalar(loss).x)
