"""How much each of several models says of what comes next, by the lists that they make together for held-out events.

Scores are added up as standings. Known and new items are weighed apart, each among their own kind. Models of which
nobody can tell by NDCG@10 that the best is better share alike: a mean of equals errs less than the one that was lucky.
To these another one is added in the form and at the weight that lift NDCG@100 most, for as long as the gain is larger
than twice its standard error over users: the largest of several gains is above one standard error by chance more often
than not. A hundred places, since so few users find an answer among ten that a gain of a fifth there may be lost in
chance. All this is done with the first ones in either form; the better of the two is taken by NDCG@10.

How far new items stand above or below known ones is settled last: so that of the places of all lists they have the
share which is due to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from zhiyin.core.arrays import BoolMatrix, BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Holdout
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import Histories
from zhiyin.core.models import Model
from zhiyin.models.standing import FORMS, standings

USERS, FEWEST = 6_000, 1_500
"""At most that many users of a hold-out, half of them such as went on to new items where there are so many; of a large
catalogue as many as make `CELLS` scores of a model, but so many in any."""

CELLS = 100_000_000
"""Scores of all models together, too, that are held at a time."""

IN_FRONT = 200
"""Items of each kind that a model puts in front of a user, and all models together: of others a sum of models makes
hardly a list."""

LATE = 0.8
"""Share of the events that come before those which tell how much is new."""

PLACES, DEEP = 10, 100
"""Of a list; and of those that tell what another model adds."""

DISCOUNTS = 1.0 / np.log2(np.arange(2, DEEP + 2))
"""Of places 1 to `DEEP`."""

STEPS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Weights that are tried, those of the best and of its equals being 1."""

FEW = 5
"""Answers of a user up to which counting what stands above each is quicker than finding the best first."""

AT_ONCE = 128
"""Users whose lists are tried together."""

ERRORS = 2.0
HALVINGS = 40
BATCH = 128


@dataclass(frozen=True, eq=False)
class Asked:
    """What models said of items after the histories of users: of each user, in `places` of their own, those that
    some model puts in front, and the answers.

    standings: (models, forms, users, places) float32, the forms being `FORMS`. new, answers, hidden: (users, places)
    which of these items training has not met, what each user went on to, and what a list may not hold.
    """

    standings: FloatMatrix
    new: BoolMatrix
    answers: BoolMatrix
    hidden: BoolMatrix

    @property
    def new_answers(self) -> float:
        """Share of the answers that are new items."""
        return float((self.answers & self.new).sum() / max(1, self.answers.sum()))

    def shown(self, scores: FloatMatrix) -> FloatMatrix:
        """(users, places) scores, -inf of what a list may not hold."""
        return np.where(self.hidden, -np.inf, scores)

    def in_forms(self, forms: IntVector) -> "Asked":
        """Of each model in one form alone, (models,)."""
        return replace(self, standings=self.standings[np.arange(len(forms)), forms][:, None])

    def among(self, kind: BoolMatrix) -> "Asked":
        """Of the items of that `kind` (users, places) alone, and of the users who went on to one of them."""
        users = (self.answers & kind).any(axis=1)
        if users.all() and kind.all():
            return self
        mine = kind[users]
        return Asked(
            self.standings[:, :, users], self.new[users], self.answers[users] & mine, self.hidden[users] | ~mine
        )


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Answers by row: users, items: (answers,), users in order. count: (users,) how many each has."""

    users: IntVector
    items: IntVector
    count: IntVector

    @classmethod
    def of(cls, answers: BoolMatrix) -> Self:
        users, items = np.nonzero(answers)
        return cls(users, items, answers.sum(axis=1))

    def of_users(self, start: int, stop: int) -> Self:
        span = slice(*np.searchsorted(self.users, (start, stop)))
        return type(self)(self.users[span] - start, self.items[span], self.count[start:stop])


@dataclass(frozen=True, eq=False)
class Weighing:
    """weights: (2, models) of known and of new items, not below zero. level: what new items have besides.

    forms: (models,) rows of `FORMS`.
    """

    weights: FloatMatrix
    level: float
    forms: IntVector


def asked_of(models: Sequence[Model], holdout: Holdout, known: BoolVector, generator: np.random.Generator) -> Asked:
    """known: (n_items,) which items training met."""
    users = _askers(holdout, known, generator)
    at_once = int(np.clip(CELLS // (len(known) * len(models)), 1, BATCH))
    parts = [
        _asked_of_some(models, holdout, known, users[start : start + at_once])
        for start in range(0, len(users), at_once)
    ]
    width = max(part.answers.shape[1] for part in parts)

    def joined(tables: Sequence[np.ndarray], beyond: float, dtype: type) -> np.ndarray:
        shape = tables[0].shape[:-2]
        whole = np.full((*shape, len(users), width), beyond, dtype)
        start = 0
        for table in tables:
            whole[..., start : start + table.shape[-2], : table.shape[-1]] = table
            start += table.shape[-2]
        return whole

    return Asked(
        joined([part.standings for part in parts], 0.0, np.float32),
        joined([part.new for part in parts], False, np.bool_),
        joined([part.answers for part in parts], False, np.bool_),
        joined([part.hidden for part in parts], True, np.bool_),
    )


def _asked_of_some(models: Sequence[Model], holdout: Holdout, known: BoolVector, users: IntVector) -> Asked:
    queries = [holdout.queries[user] for user in users]
    answers, hidden, kept = (np.zeros((len(users), len(known)), np.bool_) for _ in range(3))
    for row, user in enumerate(users):
        answers[row, holdout.targets[user]] = True
        hidden[row, holdout.seen[user]] = True
    scores = [model.score(queries) for model in models]
    said = np.stack([[standings(found, known, form).astype(np.float32) for form in FORMS] for found in scores])
    for kind in (np.flatnonzero(known), np.flatnonzero(~known)):
        for found in (*scores, said[:, 0].sum(axis=0)):
            of_kind = np.where(hidden[:, kind], -np.inf, found[:, kind])
            front = min(IN_FRONT, len(kind))
            if front:
                best = np.argpartition(-of_kind, front - 1, axis=1)[:, :front]
                np.put_along_axis(kept, kind[best], True, axis=1)
    kept |= answers
    # Places behind those of a user hold nothing that a list may.
    width = int(kept.sum(axis=1).max())
    items = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    beyond = ~np.take_along_axis(kept, items, axis=1)
    standing = np.take_along_axis(said, items[None, None], axis=3)
    answered, unlisted = (np.take_along_axis(table, items, axis=1) for table in (answers, hidden))
    return Asked(standing, ~known[items], answered & ~beyond, unlisted | beyond)


def weighed(asked: Asked, inductive: BoolVector, share: float) -> Weighing:
    """inductive: (models,) whose scores of new items mean something; the others have no weight there.

    share: of the places of all lists, for new items.
    """
    weights = np.zeros((2, len(inductive)))
    weights[0], forms = _kind(asked, np.ones(len(inductive), np.bool_), ~asked.new)
    formed = asked.in_forms(forms)
    # New items stand apart alike in any form.
    weights[1], _ = _kind(formed, inductive, asked.new)
    return Weighing(weights, _level(formed, weights, share), forms)


def alone(asked: Asked) -> FloatMatrix:
    """(models, 2) NDCG@10 of each by itself, of known and of new items, each among their kind; 0 where nobody asks."""
    figures = np.zeros((len(asked.standings), 2))
    for kind, of_kind in enumerate((~asked.new, asked.new)):
        told = asked.among(of_kind)
        if len(told.answers):
            wanted = _Wanted.of(told.answers)
            figures[:, kind] = [_ndcg(told.shown(found[0]), wanted).mean() for found in told.standings]
    return figures


def surely(gain: FloatVector) -> bool:
    """Whether the gain (users,) is above zero by more than chance: by more than `ERRORS` standard errors."""
    return bool(gain.mean() > ERRORS * gain.std() / np.sqrt(len(gain)))


def new_share(histories: Histories) -> float | None:
    """Of what people like in the last fifth of the time, the share of what came up in it; None without times."""
    times = histories.timestamps
    known = times != MISSING_TIME
    if 2 * known.sum() <= len(times):
        return None
    cut = np.quantile(times[known], LATE, method="lower")
    met = np.unique(histories.items[times < cut])
    liked = histories.items[(times >= cut) & (histories.weights > 0)]
    return float(np.mean(~np.isin(liked, met))) if len(liked) else None


def _askers(holdout: Holdout, known: BoolVector, generator: np.random.Generator) -> IntVector:
    """Places in the hold-out, sorted."""
    most = int(np.clip(CELLS // len(known), FEWEST, USERS))
    order = generator.permutation(len(holdout))
    new = np.array([not known[holdout.targets[place]].all() for place in order], np.bool_)
    half = most // 2
    return np.sort(np.concatenate([order[new][:half], order[~new], order[new][half:]])[:most])


def _kind(asked: Asked, usable: BoolVector, kind: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(models,) weights for one `kind` of items, which add up to 1, and forms; equal where no answer tells."""
    told, chosen = asked.among(kind), np.flatnonzero(usable)
    weights, forms = np.zeros(len(usable)), np.zeros(len(usable), np.int64)
    weights[chosen] = 1.0
    if len(told.answers) and len(chosen):
        theirs = told.standings if usable.all() else told.standings[chosen]
        weights[chosen], forms[chosen] = _greedy(replace(told, standings=theirs))
    return weights / max(1.0, weights.sum()), forms


def _greedy(told: Asked) -> tuple[FloatVector, IntVector]:
    """(models,) weights and forms."""
    wanted = _Wanted.of(told.answers)
    singly = [_ndcg(told.shown(found[0]), wanted) for found in told.standings]
    grown = [_grown(told, wanted, singly, form) for form in range(told.standings.shape[1])]
    weights, forms, _ = max(grown, key=lambda each: each[2])
    return weights, forms


def _grown(
    told: Asked, wanted: _Wanted, singly: Sequence[FloatVector], form: int
) -> tuple[FloatVector, IntVector, float]:
    """(models,) weights and forms, the first ones in this `form`, and the NDCG@10 that they reach together."""
    found = told.standings
    weights, forms = _equals(told, wanted, singly, form), np.full(len(found), form)
    total = told.shown(_together(weights, found[:, form]))
    figures = _ndcg(total, wanted, DEEP)
    while not weights.all():
        tried = [
            (place, each, step, reached)
            for place in np.flatnonzero(weights == 0)
            for each in range(found.shape[1])
            for step, reached in zip(STEPS, _lifted(total, found[place, each], wanted), strict=True)
        ]
        place, each, step, reached = max(tried, key=lambda one: float(one[3].mean()))
        if not surely(reached - figures):
            break
        weights[place], forms[place], figures = step, each, reached
        total += np.float32(step) * found[place, each]
    return weights, forms, float(_ndcg(total, wanted).mean())


def _equals(told: Asked, wanted: _Wanted, singly: Sequence[FloatVector], form: int) -> FloatVector:
    """(models,) 1 for the best and those that it is not surely above; for the best alone where it is surely above all
    of these together, in this `form`. singly: NDCG@10 of each by itself.
    """
    best = max(singly, key=lambda figures: float(figures.mean()))
    equal = np.array([not surely(best - figures) for figures in singly], np.float64)
    if surely(best - _ndcg(told.shown(_together(equal, told.standings[:, form])), wanted)):
        equal = np.array([figures is best for figures in singly], np.float64)
    return equal


def _lifted(total: FloatMatrix, found: FloatMatrix, wanted: _Wanted) -> FloatMatrix:
    """(steps, users) NDCG at `DEEP` places of `total` with `found` added at each of `STEPS`.

    Few users at a time, whose scores stay in the processor's cache: that is where the time of a weighing goes.
    """
    reached = np.empty((len(STEPS), len(total)))
    for start in range(0, len(total), AT_ONCE):
        stop = min(start + AT_ONCE, len(total))
        theirs = wanted.of_users(start, stop)
        for row, step in enumerate(STEPS):
            shown = total[start:stop] + np.float32(step) * found[start:stop]
            reached[row, start:stop] = _ndcg(shown, theirs, DEEP)
    return reached


def _ndcg(shown: FloatMatrix, wanted: _Wanted, places: int = PLACES) -> FloatVector:
    """(users,) NDCG at `places` of scores (users, items), answers last among equals."""
    users = wanted.users
    found = shown[users, wanted.items]
    if len(users) > FEW * len(shown):
        # Of later places nothing is asked, so one more than those tells all ranks that count.
        shown = -np.partition(-shown, min(places, shown.shape[1] - 1), axis=1)[:, : places + 1]
    ranks = ((shown if len(users) == len(shown) else shown[users]) >= found[:, None]).sum(axis=1)
    gains = np.where(ranks <= places, DISCOUNTS[np.minimum(ranks, places) - 1], 0.0)
    ideal = np.cumsum(DISCOUNTS[:places])
    ndcg: FloatVector = np.bincount(users, gains, minlength=len(shown)) / ideal[np.minimum(wanted.count, places) - 1]
    return ndcg


def _level(asked: Asked, weights: FloatMatrix, share: float) -> float:
    """By standings in the first form alone; 0 where items are of one kind."""
    if asked.new.all() or not asked.new.any() or share >= 1:
        return 0.0
    known, fresh = (
        _best(_together(weights[kind], asked.standings[:, 0]), asked.hidden | ~of_kind)
        for kind, of_kind in enumerate((~asked.new, asked.new))
    )
    shown = np.isfinite(fresh)
    if not shown.any() or not np.isfinite(known).any():
        return 0.0
    least, most = (float(pick(known[np.isfinite(known)])) for pick in (np.min, np.max))
    low, high = least - float(fresh[shown].max()), most - float(fresh[shown].min())
    for _ in range(HALVINGS):
        level = (low + high) / 2
        places = np.sort(np.concatenate([known, fresh + level], axis=1), axis=1)[:, -PLACES:]
        taken = float((shown & (fresh + level >= places[:, :1])).sum()) / max(1, np.isfinite(places).sum())
        low, high = (low, level) if taken > share else (level, high)
    return level


def _together(weights: FloatVector, found: FloatMatrix) -> FloatMatrix:
    """(users, places) float32 of `found` (models, users, places)."""
    total = np.zeros(found.shape[1:], np.float32)
    for weight, each in zip(weights.astype(np.float32), found, strict=True):
        if weight:
            total += weight * each
    return total


def _best(scores: FloatMatrix, hidden: BoolMatrix) -> FloatMatrix:
    """(users, places) the highest scores of what may be shown, -inf where there are fewer."""
    shown = np.where(hidden, -np.inf, scores)
    return -np.partition(-shown, min(PLACES, shown.shape[1]) - 1, axis=1)[:, :PLACES]
