"""Where the list of a user comes from: the most that is known of them, down to nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np

from zhiyin.app.serving.answering import Answer, answers
from zhiyin.app.serving.exposure import NONE, Exposure, Line
from zhiyin.app.serving.found import Finder
from zhiyin.app.serving.judged import Judgement
from zhiyin.app.serving.lists import (
    WORDS,
    RecommendRequest,
    list_of,
    popular_list,
    profile_list,
    recommendations,
)
from zhiyin.app.serving.people import Person
from zhiyin.app.serving.stages import PLACES, SCORES, Stages
from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.tastes import stated_words
from zhiyin.app.words import WordsRequest
from zhiyin.core.errors import ConfigError
from zhiyin.core.results import NO_REASON, Recommendations
from zhiyin.core.stores import TasteStore

Found = TypeVar("Found")

SCORES_AT_ONCE = 1 << 20
"""Scores that are held at a time, of one part of a model."""


@dataclass(frozen=True, eq=False)
class Asked:
    """One request and what is known of who asks. tastes: where what they say that they like is kept. answer: of the
    model for them; None where it is still to be asked.
    """

    state: ServingState
    person: Person
    request: RecommendRequest
    tastes: TasteStore
    finder: Finder
    judgement: Judgement | None = None
    exposure: Exposure = NONE
    answer: Answer | None = None


def lists_of(state: ServingState, asked: Sequence[Asked], stages: Stages) -> list[Recommendations | Exception]:
    """The list of each, or why there is none; those who like something are scored together."""
    together = max(1, SCORES_AT_ONCE // max(1, len(state.items)))
    return [
        found
        for start in range(0, len(asked), together)
        for found in _scored_lists(state, asked[start : start + together], stages)
    ]


def _scored_lists(state: ServingState, asked: Sequence[Asked], stages: Stages) -> list[Recommendations | Exception]:
    likes = [each for each in asked if each.person.likes]
    with stages.of(SCORES):
        together = tried(answers, state, [each.person.query for each in likes]) if likes else []
    with stages.of(PLACES):
        if isinstance(together, Exception):
            # Of whom it cannot score, it tells each alone.
            return [tried(listed, each) for each in asked]
        told = iter(together)
        return [tried(listed, replace(each, answer=next(told)) if each.person.likes else each) for each in asked]


def listed(asked: Asked) -> Recommendations:
    """The list of the highest rung that knows enough."""
    request = asked.request
    if request.skip:
        asked = replace(asked, request=replace(request, n=request.n + request.skip))
    found = next(found for found in (rung(asked) for rung in RUNGS) if found is not None)
    if not request.skip and not request.behind:
        return found
    shown = found.items[request.skip :]
    if request.behind:
        shown = [replace(item, rank=item.rank + request.behind) for item in shown]
    return replace(found, items=shown)


def tried(do: Callable[..., Found], *given: object) -> Found | Exception:
    """What `do` returns, or the error that it raises."""
    try:
        return do(*given)
    except Exception as error:
        return error


def liked(asked: Asked) -> Recommendations | None:
    """By what the log tells that they like ("personal"), else by what this request alone does ("session")."""
    if not asked.person.likes:
        return None
    return list_of(
        asked.state,
        asked.person,
        asked.request,
        judgement=asked.judgement,
        exposure=asked.exposure,
        answer=asked.answer,
    )


def words(asked: Asked) -> Recommendations | None:
    """By their own words; not where the system reads no text."""
    said = stated_words(asked.person, asked.tastes)
    if not said:
        return None
    state, request = asked.state, asked.request
    seen = np.empty(0, np.int64) if request.keep_seen else asked.person.seen
    person = replace(asked.person, seen=np.union1d(seen, state.known_rows(request.exclude)))
    search = WordsRequest(said, categories=request.categories, n=request.n)
    try:
        found = asked.finder.find(state, person, search, person.query.now)
    except ConfigError:
        return None
    rows = state.items.rows([item.item_id for item, _ in found])
    line = Line.of(rows, np.array([score for _, score in found]))
    return recommendations(state, asked.person, line, [NO_REASON] * len(rows), WORDS)


def profile(asked: Asked) -> Recommendations | None:
    """By what people like who share an attribute with them; only words are shared, numbers are not."""
    system, features = asked.state.system, asked.person.query.user_features
    if system.profile is None or features is None:
        return None
    if not any(column.value is not None and told for column, told in zip(system.user_columns, features, strict=True)):
        return None
    return profile_list(asked.state, system.profile, asked.person, asked.request, asked.exposure)


def popular(asked: Asked) -> Recommendations | None:
    """By what everybody likes."""
    return popular_list(asked.state, asked.person, asked.request, asked.exposure)


Rung: TypeAlias = Callable[[Asked], Recommendations | None]

RUNGS: tuple[Rung, ...] = (liked, words, profile, popular)
"""Highest first; the last one always has a list."""
