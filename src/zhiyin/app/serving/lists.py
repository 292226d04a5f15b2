"""The list of one user: the best of what may be shown, with reasons."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zhiyin.app.serving.judged import Judgement
from zhiyin.app.serving.people import PERSONAL, POPULAR, Person
from zhiyin.app.serving.reasons import reasons_of
from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.core.models import Model
from zhiyin.core.results import Reason, Recommendations, Recommended
from zhiyin.retrieval.topn import top_n


@dataclass(frozen=True)
class RecommendRequest:
    """One question. items: liked items of a visitor without history; those that the system does not know say nothing.

    keep_seen: seen items may come again. categories: only items in one of them; empty means all.
    """

    user_id: str
    n: int = 10
    categories: Sequence[str] = ()
    keep_seen: bool = False
    items: Sequence[str] = ()


def list_of(
    state: ServingState,
    person: Person,
    request: RecommendRequest,
    hidden: Collection[str] = (),
    judgement: Judgement | None = None,
) -> Recommendations:
    """The personal list without the items `hidden`; the popular one for a user with nothing liked yet.

    judgement: orders the personal list anew, whose scores then may rise from one item to the next.
    """
    if person.rung == POPULAR:
        return popular_list(state, person, request)

    def best(n: int) -> tuple[IntVector, FloatVector]:
        return best_of(state, state.system.model, person, replace(request, n=n), hidden)

    rows, scores = best(request.n) if judgement is None else judgement.best(request.n, best, state.catalog)
    return recommendations(state, person, (rows, scores), reasons_of(state, person, rows), PERSONAL)


def popular_list(state: ServingState, person: Person, request: RecommendRequest) -> Recommendations:
    rows, scores = best_of(state, state.system.fallback, person, request)
    return recommendations(state, person, (rows, scores), [Reason("popular")] * len(rows), POPULAR)


def best_of(
    state: ServingState, model: Model, person: Person, request: RecommendRequest, hidden: Collection[str] = ()
) -> tuple[IntVector, FloatVector]:
    """Rows and scores of the at most `request.n` best eligible items, best first. Raises `InputError` for n below 1."""
    seen = np.empty(0, np.int64) if request.keep_seen else person.seen
    mask = state.eligibility.mask(person.query.now, seen, request.categories)
    mask[state.system.items.rows(sorted(hidden))] = False
    best = top_n(model.score([person.query]), request.n, mask)
    kept = best.rows[0] >= 0
    return best.rows[0][kept], best.scores[0][kept]


def recommendations(
    state: ServingState,
    person: Person,
    best: tuple[IntVector, FloatVector],
    reasons: Sequence[Reason],
    rung: str,
) -> Recommendations:
    """Rows with their scores and reasons as a list under a fresh id."""
    items = tuple(
        Recommended(state.system.items.ids[row], rank, float(score), reason)
        for rank, (row, score, reason) in enumerate(zip(*best, reasons, strict=True), start=1)
    )
    return Recommendations(person.user_id, items, rung, uuid.uuid4().hex, state.system.manifest.manifest_id)
