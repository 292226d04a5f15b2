"""The page of one user: lists side by side, each with what it is about."""

from dataclasses import dataclass, replace

import numpy as np

from zhiyin.app.serving.answering import Answer, answers
from zhiyin.app.serving.exposure import Exposure, Line
from zhiyin.app.serving.judged import Judgement
from zhiyin.app.serving.ladder import Asked, listed
from zhiyin.app.serving.lists import (
    PERSONAL,
    POPULAR,
    RecommendRequest,
    best_of,
    list_of,
    popular_list,
    recommendations,
)
from zhiyin.app.serving.people import Person
from zhiyin.app.serving.reasons import parts_by_item, presentable, reasons_at
from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.tastes import favourite_categories
from zhiyin.core.results import Reason, Recommendations
from zhiyin.retrieval.topn import top_n

BECAUSE_SHELVES = 2
BECAUSE_POOL = 400
"""Best-scored items among which "because" shelves look; exact shares over a whole large catalogue would be slow."""

SHELF_MINIMUM = 3


@dataclass(frozen=True)
class Shelf:
    """kind: "for-you", "because" (then `reason` names the event), "category" (then `category`), or "popular"."""

    kind: str
    recommendations: Recommendations
    reason: Reason | None = None
    category: str | None = None

    @property
    def worthwhile(self) -> bool:
        return len(self.recommendations.items) >= SHELF_MINIMUM


@dataclass(frozen=True)
class Shelves:
    user_id: str
    shelves: tuple[Shelf, ...]


def shelves_of(asked: Asked) -> Shelves:
    """Shelves of as many items as are asked for; the categories narrow the first one, which alone is judged.

    New items are given places on the first shelf and on that of a category. Who likes nothing yet has the list of their
    rung, and what is popular below it.
    """
    state, person, request = asked.state, asked.person, asked.request
    if person.likes:
        return Shelves(person.user_id, tuple(_personal(state, person, request, asked.judgement, asked.exposure)))
    first = listed(asked)
    if first.rung == POPULAR:
        return Shelves(person.user_id, (Shelf("popular", first),))
    popular = popular_list(state, person, RecommendRequest(person.user_id, request.n))
    return Shelves(person.user_id, (Shelf("for-you", first), Shelf("popular", popular)))


def _personal(
    state: ServingState, person: Person, request: RecommendRequest, judgement: Judgement | None, exposure: Exposure
) -> list[Shelf]:
    n = request.n
    if not request.categories:
        # In a small catalogue the first shelf would otherwise leave nothing for the others.
        n = min(n, max(SHELF_MINIMUM, len(state.items) // 4))
    answer = answers(state, [person.query])[0]
    first = list_of(state, person, replace(request, n=n), judgement=judgement, exposure=exposure, answer=answer)
    main = Shelf("for-you", first)
    shown = {item.item_id for item in main.recommendations.items}
    below: list[Shelf] = []
    for shelf in _because(state, person, answer, n, shown):
        below.append(shelf)
        shown.update(item.item_id for item in shelf.recommendations.items)
    for favourite in favourite_categories(state, person)[:1]:
        within = RecommendRequest(person.user_id, n, (favourite,))
        listed = list_of(state, person, within, shown, exposure=exposure, answer=answer)
        below.append(Shelf("category", listed, category=favourite))
    popular = Shelf("popular", popular_list(state, person, RecommendRequest(person.user_id, n)))
    above = [main] if request.categories or main.worthwhile else []
    return [*above, *(shelf for shelf in below if shelf.worthwhile), popular]


def _because(state: ServingState, person: Person, answer: Answer, n: int, shown: set[str]) -> list[Shelf]:
    """Shelves around the events that carry most of this user's scores, each ranked by that event's part alone."""
    if not state.explains:
        return []
    pool, _ = best_of(state, answer, person, RecommendRequest(person.user_id, BECAUSE_POOL), shown)
    if not len(pool):
        return []
    parts = parts_by_item(answer, person, pool)
    strength = np.where(presentable(state, person), np.maximum(parts, 0).sum(axis=0), 0.0)
    shelves: list[Shelf] = []
    free = np.ones(len(pool), np.bool_)
    for position in np.argsort(-strength, kind="stable"):
        if len(shelves) == BECAUSE_SHELVES or strength[position] <= 0:
            break
        best = top_n(parts[None, :, position], n, free & (parts[:, position] > 0))
        places = best.rows[0][best.rows[0] >= 0]
        if len(places) < SHELF_MINIMUM:
            continue
        free[places] = False
        reasons = reasons_at(state, person, parts[places], np.full(len(places), position))
        best_of_pool = pool[places], parts[places, position]
        listed = recommendations(state, person, Line.of(*best_of_pool), reasons, PERSONAL)
        shelves.append(Shelf("because", listed, reason=reasons[0]))
    return shelves
