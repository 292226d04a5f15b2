"""What every model must do, as checks to run over each registered implementation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

import numpy as np
from safetensors.numpy import load, save

from zhiyin.core.dataset import Query
from zhiyin.core.errors import ConfigError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import History
from zhiyin.core.models import (
    AdditiveModel,
    Before,
    Choice,
    ExplorableModel,
    InductiveModel,
    Model,
    RatingModel,
    Run,
    TunableModel,
)
from zhiyin.core.scored import scored
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.testing.synthetic import Planted, reordered

TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Case:
    """A model under test: how to make it anew, the data, what surrounds a fit, and one fitted instance."""

    make: Callable[[], Model]
    planted: Planted
    run: Run
    model: Model

    @classmethod
    def of(cls, make: Callable[[], Model], planted: Planted, run: Run) -> "Case":
        model = make()
        model.fit(planted.data, run)
        return cls(make, planted, run, model)


def registered(name: str) -> type[Model]:
    """The model class registered under `name` in the entry-point group "zhiyin.models"."""
    (point,) = entry_points(group="zhiyin.models", name=name)
    loaded: type[Model] = point.load()
    return loaded


def check_config_round_trip(case: Case) -> None:
    """Settings survive JSON, refuse unknown names and cannot be changed."""
    kind, config = type(case.model).Config, case.model.config
    assert kind.model_validate_json(config.model_dump_json()) == config
    assert kind.model_config.get("frozen") is True
    assert kind.model_config.get("extra") == "forbid"
    if isinstance(case.model, TunableModel):
        for settings in case.model.search:
            kind.model_validate({**config.model_dump(), **settings})
    if isinstance(case.model, ExplorableModel):
        defaults = type(case.model).Config()
        for name, space in case.model.space.items():
            ends = space.values if isinstance(space, Choice) else (space.low, space.high)
            for end in ends:
                kind.model_validate({**config.model_dump(), name: end})
            usual = getattr(defaults, name)
            assert usual in ends if isinstance(space, Choice) else space.low <= usual <= space.high, name


def check_save_load_round_trip(case: Case) -> None:
    """Parameters are plain numbers, and through bytes and back they score alike."""
    parameters = {name: np.ascontiguousarray(array) for name, array in case.model.parameters().items()}
    assert all(array.dtype.kind in "fiu" for array in parameters.values())
    other = case.make()
    other.load_parameters(load(save(parameters)))
    queries = case.planted.queries[:8]
    np.testing.assert_array_equal(other.score(queries), case.model.score(queries))


def check_refit_is_equal(case: Case) -> None:
    """The same seed and data give the same parameters."""
    again = case.make()
    again.fit(case.planted.data, case.run)
    first, second = case.model.parameters(), again.parameters()
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def check_batch_is_single(case: Case) -> None:
    """A query's scores do not depend on what else is asked with it."""
    queries = (*case.planted.queries[:20], *_odd_queries(case))
    together = case.model.score(queries)
    alone = np.concatenate([case.model.score([query]) for query in queries])
    np.testing.assert_allclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE)
    backwards = case.model.score(queries[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, rtol=TOLERANCE, atol=TOLERANCE)


def check_odd_queries_are_finite(case: Case) -> None:
    """An empty history, unknown items, unknown times, dislikes alone: a finite score for every item all the same."""
    queries = _odd_queries(case)
    scores = case.model.score(queries)
    assert scores.shape == (len(queries), len(case.planted.data.items))
    assert np.isfinite(scores).all()
    assert case.model.score([]).shape[0] == 0


def check_candidates_are_columns(case: Case) -> None:
    """Scores of candidates, shared or a line a query, are those of the full list."""
    queries = case.planted.queries[:6]
    full = case.model.score(queries)
    shared = np.array([5, 0, 3], np.int64)
    np.testing.assert_allclose(case.model.score(queries, shared), full[:, shared], rtol=TOLERANCE, atol=TOLERANCE)
    own = np.random.default_rng(1).integers(0, full.shape[1], (len(queries), 4))
    expected = np.take_along_axis(full, own, axis=1)
    np.testing.assert_allclose(case.model.score(queries, own), expected, rtol=TOLERANCE, atol=TOLERANCE)


def check_contributions_add_up(case: Case) -> None:
    """Where a model explains itself by its history, base and parts make up the score."""
    if not isinstance(case.model, AdditiveModel):
        return
    items = np.array([1, 4, 2, 7], np.int64)
    queries = (*case.planted.queries[:6], *_odd_queries(case))
    together = scored(case.model, queries)
    np.testing.assert_allclose(together.scores, case.model.score(queries), rtol=TOLERANCE, atol=TOLERANCE)
    for row, query in enumerate(queries):
        expected = case.model.score([query], items)[0]
        for found in (case.model.contributions(query, items), together.contributions(row, items)):
            assert found.parts.shape == (len(items), len(query.history))
            np.testing.assert_allclose(found.base + found.parts.sum(axis=1), expected, rtol=TOLERANCE, atol=TOLERANCE)


def check_ratings_keep_to_scale(case: Case) -> None:
    """Expected ratings lie within the data's scale."""
    if not isinstance(case.model, RatingModel) or case.planted.data.rating_scale is None:
        return
    low, high = case.planted.data.rating_scale
    queries = (*case.planted.queries[:6], *_odd_queries(case))
    ratings = case.model.predict_ratings(queries, np.arange(len(case.planted.data.items)))
    assert ratings.shape == (len(queries), len(case.planted.data.items))
    assert ((ratings >= low) & (ratings <= high)).all()


def check_finds_the_pattern(case: Case) -> None:
    """Unseen items of a user's group score above those of other groups, for nearly all users."""
    scores = case.model.score(case.planted.queries)
    pairs = zip(scores, case.planted.liked, case.planted.others, strict=True)
    wins = [row[liked].mean() > row[others].mean() for row, liked, others in pairs]
    assert np.mean(wins) >= 0.95


def check_goes_on_from_before(case: Case) -> None:
    """A fit that goes on for an epoch from an earlier one, whose items stood in another order and lacked one, knows the
    pattern as that did.
    """
    order = np.random.default_rng(0).permutation(len(case.planted.data.items))
    other = reordered(case.planted, order)
    before = Before(case.model, np.where(order == 0, UNKNOWN, order), share=0.0)
    check_finds_the_pattern(Case.of(case.make, other, replace(case.run, before=before)))


def check_goes_on_with_new_items(case: Case) -> None:
    """Known items keep their scores beside new ones, which may stand in histories; without new ones nothing changes.

    It is all one whether new items come together or one after another, or the model goes through bytes between.
    """
    data, model = case.planted.data, case.model
    if not isinstance(model, InductiveModel):
        return
    arrived = np.array([3, 0], np.int64)
    content = {name: vectors[arrived] for name, vectors in data.content.items()}
    try:
        extended = model.extended(data.catalog.take(arrived), content)
    except ConfigError:
        return
    known = len(data.items)
    queries = (*case.planted.queries[:6], *_odd_queries(case))
    scores = extended.score(queries)
    assert scores.shape == (len(queries), known + len(arrived))
    np.testing.assert_allclose(scores[:, :known], model.score(queries), rtol=TOLERANCE, atol=TOLERANCE)
    read = extended.score([Query(History.of_items([known]), data.now)])
    assert np.isfinite(read).all()
    none = model.extended(data.catalog.take(arrived[:0]), {name: rows[:0] for name, rows in content.items()})
    np.testing.assert_allclose(none.score(queries), model.score(queries), rtol=TOLERANCE, atol=TOLERANCE)
    singly: Model = model
    for place, row in enumerate(arrived):
        own = {name: rows[place : place + 1] for name, rows in content.items()}
        assert isinstance(singly, InductiveModel)
        singly = singly.extended(data.catalog.take(row[None]), own)
    both = (*queries, Query(History.of_items([known, 1, known + 1]), data.now))
    np.testing.assert_allclose(singly.score(both), extended.score(both), rtol=TOLERANCE, atol=TOLERANCE)
    stored = {name: np.ascontiguousarray(array) for name, array in singly.parameters().items()}
    again = case.make()
    again.load_parameters(load(save(stored)))
    # Gradient models keep their parameters in float32, which for new items are made from content in float64.
    np.testing.assert_allclose(again.score(both), singly.score(both), rtol=1e-4, atol=1e-4)


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_config_round_trip,
    check_save_load_round_trip,
    check_refit_is_equal,
    check_batch_is_single,
    check_odd_queries_are_finite,
    check_candidates_are_columns,
    check_contributions_add_up,
    check_ratings_keep_to_scale,
    check_goes_on_with_new_items,
)
"""Checks of every model."""

PERSONAL_CHECKS: tuple[Callable[[Case], None], ...] = (check_finds_the_pattern, check_goes_on_from_before)
"""Checks of those that know one user from another."""


def _odd_queries(case: Case) -> list[Query]:
    now = case.planted.data.now
    empty = History.of_items([])
    strange = History.of_items([UNKNOWN, 2, UNKNOWN])
    first = case.planted.queries[0].history
    timeless = History(first.items, first.weights, first.ratings, np.full(len(first), MISSING_TIME, np.int64))
    disliked = History(first.items, np.full(len(first), -1.0, np.float32), first.ratings, first.timestamps)
    return [Query(history, now) for history in (empty, strange, timeless, disliked)]
