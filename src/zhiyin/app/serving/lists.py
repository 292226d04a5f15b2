"""The list of one user: the best of what may be shown, with reasons."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zhiyin.app.serving.answering import Answer, answers
from zhiyin.app.serving.exposure import NONE, Exposure, Line
from zhiyin.app.serving.judged import Judgement
from zhiyin.app.serving.people import Person
from zhiyin.app.serving.reasons import reasons_of
from zhiyin.app.serving.state import ServingState
from zhiyin.core.arrays import BoolVector, FloatVector, IntVector
from zhiyin.core.ids import fresh_id
from zhiyin.core.models import Model
from zhiyin.core.results import NO_REASON, Reason, Recommendations, Recommended
from zhiyin.retrieval import topn

PERSONAL, SESSION, WORDS, PROFILE, POPULAR = "personal", "session", "words", "profile", "popular"
"""Where a list comes from, in the order in which it is asked for."""


@dataclass(frozen=True)
class RecommendRequest:
    """One question. items: liked items of a visitor without history; those that the system does not know say nothing.

    keep_seen: seen items may come again. categories: only items in one of them; empty means all. skip: places at the
    head of the list that are not shown; ranks count them. behind: places that were shown before, which ranks count.
    exclude: items that are in no case to be in it. boosts: category -> by how much its items rise above what the model
    says, below 0 for sinking, in standard deviations of its scores; lists by words know none. explain: whether each
    item comes with its reason.
    """

    user_id: str
    n: int = 10
    categories: Sequence[str] = ()
    keep_seen: bool = False
    items: Sequence[str] = ()
    skip: int = 0
    behind: int = 0
    exclude: Sequence[str] = ()
    boosts: Mapping[str, float] = field(default_factory=dict)
    explain: bool = True


def list_of(
    state: ServingState,
    person: Person,
    request: RecommendRequest,
    hidden: Collection[str] = (),
    *,
    judgement: Judgement | None = None,
    exposure: Exposure = NONE,
    answer: Answer | None = None,
) -> Recommendations:
    """The list of a user who likes something, without the items `hidden`.

    judgement: orders the list anew, whose scores then may rise from one item to the next. exposure: of new
    items, which have what places are due to them after that. answer: of the model; None asks it.
    """
    told = answer or answers(state, [person.query])[0]
    mask, lift = _eligible(state, person, request, hidden), state.eligibility.lift(request.boosts)
    if judgement is None:
        rows, own = told.best(request.n, mask, lift)
    else:
        rows, own = judgement.best(request.n, lambda n: told.best(n, mask, lift), state.catalog)
    best_new = told.best(request.n, mask & state.new, lift) if state.has_new else (rows[:0], own[:0])
    line = exposure.given(rows, own, state.is_new(rows), best_new)
    reasons = reasons_of(state, person, line.rows, told) if request.explain else [NO_REASON] * len(line.rows)
    rung = POPULAR if state.alike else SESSION if person.visiting else PERSONAL
    return recommendations(state, person, line, reasons, rung)


def popular_list(
    state: ServingState, person: Person, request: RecommendRequest, exposure: Exposure = NONE
) -> Recommendations:
    """What everybody likes."""
    line = _shared(state, person, request, exposure, state.fallback.score([person.query])[0])
    reasons = [NO_REASON if new else Reason("popular") for new in state.is_new(line.rows)]
    return recommendations(state, person, line, reasons, POPULAR)


def profile_list(
    state: ServingState, model: Model, person: Person, request: RecommendRequest, exposure: Exposure = NONE
) -> Recommendations:
    """What people like who share the user's attributes, as `model` knows them."""
    scores = model.score([person.query])[0]
    later = np.full(len(state.items) - len(scores), scores.min())
    line = _shared(state, person, request, exposure, np.concatenate([scores, later]))
    return recommendations(state, person, line, [NO_REASON] * len(line.rows), PROFILE)


def _shared(
    state: ServingState, person: Person, request: RecommendRequest, exposure: Exposure, scores: FloatVector
) -> Line:
    """A list of what many like. Nobody has liked a new item yet: what is due to them goes to those that came last."""
    mask = _eligible(state, person, request)
    scores = topn.lifted(scores, state.eligibility.lift(request.boosts))
    newest = np.flatnonzero(mask & state.new)[::-1][: request.n]
    rows, own = topn.best_of(scores, request.n, mask)
    return exposure.given(rows, own, state.is_new(rows), (newest, scores[newest]))


def best_of(
    state: ServingState, answer: Answer, person: Person, request: RecommendRequest, hidden: Collection[str] = ()
) -> tuple[IntVector, FloatVector]:
    """Rows and scores of the at most `request.n` best eligible items, best first. Raises `InputError` for n below 1."""
    return answer.best(request.n, _eligible(state, person, request, hidden))


def _eligible(
    state: ServingState, person: Person, request: RecommendRequest, hidden: Collection[str] = ()
) -> BoolVector:
    seen = np.empty(0, np.int64) if request.keep_seen else person.seen
    mask = state.eligibility.mask(person.query.now, seen, request.categories)
    mask[state.known_rows([*hidden, *request.exclude])] = False
    return mask


def recommendations(
    state: ServingState, person: Person, line: Line, reasons: Sequence[Reason], rung: str
) -> Recommendations:
    """A list with its reasons under a fresh id."""
    places = zip(line.rows.tolist(), line.scores.tolist(), line.chances.tolist(), reasons, strict=True)
    items = tuple(
        Recommended(state.items.ids[row], rank, score, reason, chance)
        for rank, (row, score, chance, reason) in enumerate(places, start=1)
    )
    return Recommendations(person.user_id, items, rung, fresh_id(), state.system.manifest.manifest_id)
