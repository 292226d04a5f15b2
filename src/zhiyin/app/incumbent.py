"""The system that serves, asked the questions of data that is newer than itself."""

from dataclasses import replace

import numpy as np

from zhiyin.app.selection import WATCHED
from zhiyin.app.system import System
from zhiyin.core.arrays import FloatVector, IntVector
from zhiyin.core.catalog import Users
from zhiyin.core.dataset import Dataset, Holdout, Query
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.features import user_vector
from zhiyin.evaluation.ranking import evaluate_ranking


def answers_of(system: System, data: Dataset, asked: Holdout, people: Users) -> FloatVector:
    """(users,) `WATCHED` of the system on questions from `data`, among the items that it knows; NaN where it does not
    know what is asked for. people: what users told of themselves.
    """
    places = system.items.rows(data.items.ids)
    known = [row for row, targets in enumerate(asked.targets) if (places[targets] != UNKNOWN).all()]
    answers = np.full(len(asked), np.nan)
    if known:
        heard = _as_known(asked.take(np.array(known, np.int64)), system, data, places, people)
        answers[known] = evaluate_ranking(system.model, heard, len(system.items)).metrics[WATCHED]
    return answers


def _as_known(holdout: Holdout, system: System, data: Dataset, places: IntVector, people: Users) -> Holdout:
    """The questions as the system hears them: over its items, with what it reads of users."""
    told = Vocabulary(people.user_id).rows(data.users.ids[holdout.users])
    queries = []
    for query, row in zip(holdout.queries, told.tolist(), strict=True):
        history = query.history.take(np.flatnonzero(places[query.history.items] != UNKNOWN))
        own = {} if row == UNKNOWN else {name: column[row] for name, column in people.attributes.items()}
        features = user_vector(system.user_columns, own) if system.user_columns else None
        queries.append(Query(replace(history, items=places[history.items]), query.now, features))
    seen = (places[rows] for rows in holdout.seen)
    return replace(
        holdout,
        queries=tuple(queries),
        targets=tuple(places[rows] for rows in holdout.targets),
        seen=tuple(rows[rows != UNKNOWN] for rows in seen),
    )
