"""Why an item is in a list: exact parts of its score, or nothing."""

import numpy as np

from zhiyin.app.serving.answering import Answer
from zhiyin.app.serving.people import Person
from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.views import number
from zhiyin.core.arrays import BoolVector, FloatMatrix, IntVector
from zhiyin.core.results import NO_REASON, Reason


def reasons_of(state: ServingState, person: Person, rows: IntVector, answer: Answer) -> list[Reason]:
    """For each item, the presentable event that gave most of its score; none where the model has no exact parts.

    answer: of the model, of the person.
    """
    shown = presentable(state, person)
    if not state.explains or not len(rows) or not shown.any():
        return [NO_REASON] * len(rows)
    parts = parts_by_item(answer, person, rows)
    return reasons_at(state, person, parts, np.argmax(np.where(shown, parts, -np.inf), axis=1))


def presentable(state: ServingState, person: Person) -> BoolVector:
    """(events of the history,) which are a reason to a reader: none that was disliked or rated below the middle.

    A model may well have learned that people who rated an item low go on to another one; to be told so is odd.
    """
    history, scale = person.query.history, state.system.rating_scale
    low = np.zeros(len(history), np.bool_) if scale is None else history.ratings < sum(scale) / 2
    return (history.weights > 0) & ~low


def parts_by_item(answer: Answer, person: Person, rows: IntVector) -> FloatMatrix:
    """(rows, events of the history) parts of scores, those of repeated events of one item added up at its latest."""
    items = person.query.history.items
    parts = answer.contributions(rows).parts
    order = np.argsort(items, kind="stable")
    grouped = items[order]
    first = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]])[: len(items)])
    if len(first) == len(items):
        return parts
    summed = np.zeros_like(parts)
    summed[:, np.maximum.reduceat(order, first)] = np.add.reduceat(parts[:, order], first, axis=1)
    return summed


def reasons_at(state: ServingState, person: Person, parts: FloatMatrix, positions: IntVector) -> list[Reason]:
    """For each item the presentable event at its place of `positions` (items,) in the history, or none where the part
    of that is not positive.

    parts: (items, events of the history) of their scores.
    """
    history = person.query.history
    told = parts[np.arange(len(parts)), positions]
    shares = told / np.maximum(parts, 0.0).sum(axis=1).clip(min=np.finfo(np.float64).tiny)
    events = (history.items[positions], person.kinds[positions], history.ratings[positions], shares)
    return [
        Reason("history", state.items.ids[item], event, number(rating), share) if share > 0 else NO_REASON
        for item, event, rating, share in zip(*(each.tolist() for each in events), strict=True)
    ]
