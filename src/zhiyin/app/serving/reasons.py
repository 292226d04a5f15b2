"""Why an item is in a list: exact parts of its score, or nothing."""

import numpy as np

from zhiyin.app.serving.people import Person
from zhiyin.app.serving.state import ServingState
from zhiyin.app.serving.views import number
from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.models import AdditiveModel
from zhiyin.core.results import Reason


def reasons_of(state: ServingState, person: Person, rows: IntVector) -> list[Reason]:
    """For each item, the presentable event that gave most of its score; none where the model has no exact parts."""
    model = state.model
    if not isinstance(model, AdditiveModel) or not len(rows):
        return [Reason("none")] * len(rows)
    parts = parts_by_item(model, person, rows)
    shown = presentable(state, person)
    if not shown.any():
        return [Reason("none")] * len(rows)
    return [reason_of(state, person, line, int(np.argmax(np.where(shown, line, -np.inf)))) for line in parts]


def presentable(state: ServingState, person: Person) -> BoolVector:
    """(events of the history,) which are a reason to a reader: none that was disliked or rated below the middle.

    A model may well have learned that people who rated an item low go on to another one; to be told so is odd.
    """
    history, scale = person.query.history, state.system.rating_scale
    low = np.zeros(len(history), np.bool_) if scale is None else history.ratings < sum(scale) / 2
    return (history.weights > 0) & ~low


def parts_by_item(model: AdditiveModel, person: Person, rows: IntVector) -> FloatMatrix:
    """(rows, events of the history) parts of scores, those of repeated events of one item added up at its latest."""
    history = person.query.history
    parts = model.contributions(person.query, rows).parts
    _, group = np.unique(history.items, return_inverse=True)
    latest = np.zeros(group.max() + 1, np.int64)
    latest[group] = np.arange(len(group))
    summed = np.zeros_like(parts)
    np.add.at(summed.T, latest[group], parts.T)
    return summed


def reason_of(state: ServingState, person: Person, line: FloatVector, position: int) -> Reason:
    """The presentable event at `position` of the history as a reason, or none where its part is not positive.

    line: (events of the history,) the parts of one item's score.
    """
    part, positive = float(line[position]), float(line[line > 0].sum())
    if part <= 0:
        return Reason("none")
    history = person.query.history
    same_item = person.rows == history.items[position]
    same_event = same_item & (person.events.timestamp == history.timestamps[position])
    # Preparation may give an event without a time another one, so the item alone has to do then.
    event = int(np.flatnonzero(same_event if same_event.any() else same_item)[-1])
    return Reason(
        kind="history",
        item_id=state.items.ids[history.items[position]],
        event=person.events.event[event],
        value=number(history.ratings[position]),
        share=part / positive,
    )
