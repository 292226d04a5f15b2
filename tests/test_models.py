from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import History
from zhiyin.core.models import FitReport, Run, TrainingTask
from zhiyin.models.ease import Ease
from zhiyin.models.neighbours import ItemNeighbours, UserNeighbours
from zhiyin.models.popularity import Popularity
from zhiyin.testing.model_conformance import CHECKS, Case, check_finds_the_pattern, registered
from zhiyin.testing.synthetic import DAY, START, dataset_of, planted_groups

PERSONAL = ("ease", "item-neighbours", "user-neighbours")
MODELS = ("popularity", *PERSONAL)


class OneSum:
    def sum(self, users: IntVector, per_users: Callable[[IntVector], Any], bound: float) -> Any:
        return per_users(users)


class NoTrainer:
    def run(self, task: TrainingTask, run: Run) -> FitReport:
        raise NotImplementedError


RUN = Run(NoTrainer(), OneSum(), seed=3)


@cache
def case_of(name: str) -> Case:
    kind = registered(name)
    return Case.of(lambda: kind(kind.Config()), planted_groups(), RUN)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_model_conforms(name: str, check: Callable[[Case], None]) -> None:
    check(case_of(name))


@pytest.mark.parametrize("name", PERSONAL)
def test_model_finds_the_pattern(name: str) -> None:
    check_finds_the_pattern(case_of(name))


@pytest.mark.parametrize("name", MODELS)
def test_model_is_registered_under_its_own_name(name: str) -> None:
    assert registered(name).name == name


@pytest.mark.parametrize("name", MODELS)
def test_unfitted_model_says_so(name: str) -> None:
    kind = registered(name)
    with pytest.raises(ArtifactError, match="fit it or load"):
        kind(kind.Config()).score(planted_groups().queries[:1])


@pytest.mark.parametrize("name", MODELS)
def test_foreign_parameters_are_refused(name: str) -> None:
    kind = registered(name)
    with pytest.raises(ArtifactError, match="train it again"):
        kind(kind.Config()).load_parameters({"something": np.zeros(3)})


@pytest.mark.parametrize("name", MODELS)
def test_unknown_settings_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        registered(name).Config(colour="red")


def timed(items: list[int], days: list[float], weights: list[float] | None = None) -> History:
    history = History.of_items(items)
    times = np.array([START + day * DAY for day in days], np.int64)
    values = history.weights if weights is None else np.array(weights, np.float32)
    return History(history.items, values, history.ratings, times)


def test_popularity_fades_with_time() -> None:
    data = dataset_of([timed([0, 0, 0], [0, 0, 0]), timed([1, 1], [100, 100])], 2)
    lasting, fading = Popularity(Popularity.Config()), Popularity(Popularity.Config(half_life_days=100))
    lasting.fit(data, RUN)
    fading.fit(data, RUN)
    np.testing.assert_allclose(lasting.score([data.query(0)])[0], [3, 2])
    np.testing.assert_allclose(fading.score([data.query(0)])[0], [1.5, 2])


def test_popularity_ignores_dislikes() -> None:
    data = dataset_of([timed([0, 1], [0, 1], [-1, 1])], 2)
    model = Popularity(Popularity.Config())
    model.fit(data, RUN)
    np.testing.assert_allclose(model.score([data.query(0)])[0], [0, 1])


def test_ease_solves_its_regression() -> None:
    planted = planted_groups()
    model = Ease(Ease.Config(l2=5.0))
    model.fit(planted.data, RUN)
    cells = planted.data.histories.matrix(len(planted.data.items))
    dense = np.zeros((len(planted.data.users), len(planted.data.items)))
    for user in range(len(dense)):
        dense[user, cells.indices[cells.indptr[user] : cells.indptr[user + 1]]] = 1
    target = 3
    others = np.delete(np.arange(dense.shape[1]), target)
    left = dense[:, others]
    expected = np.linalg.solve(left.T @ left + 5.0 * np.eye(len(others)), left.T @ dense[:, target])
    np.testing.assert_allclose(model.parameters()["weights"][others, target], expected, atol=1e-5)


@pytest.mark.parametrize("kind", [Ease, ItemNeighbours, UserNeighbours])
def test_item_disliked_after_all_gives_no_evidence(kind: Any) -> None:
    planted = planted_groups()
    model = kind(kind.Config())
    model.fit(planted.data, RUN)
    plain = Query(timed([1, 5], [0, 1]), START)
    regretted = Query(timed([1, 5, 2, 2], [0, 1, 2, 3], [1, 1, 1, -1]), START)
    np.testing.assert_allclose(model.score([plain]), model.score([regretted]))


def test_recent_events_weigh_more_where_asked() -> None:
    planted = planted_groups()
    model = Ease(Ease.Config(half_life_days=10))
    model.fit(planted.data, RUN)
    parts = model.contributions(Query(timed([1, 5], [0, 10]), START), np.array([9])).parts
    plain = Ease(Ease.Config())
    plain.fit(planted.data, RUN)
    full = plain.contributions(Query(timed([1, 5], [0, 10]), START), np.array([9])).parts
    np.testing.assert_allclose(parts, full * [0.5, 1.0])


@pytest.mark.parametrize("weighting", ["cosine", "tf-idf", "bm25"])
@pytest.mark.parametrize("kind", [ItemNeighbours, UserNeighbours])
def test_every_weighting_finds_the_pattern(kind: Any, weighting: str) -> None:
    check_finds_the_pattern(Case.of(lambda: kind(kind.Config(weighting=weighting)), planted_groups(), RUN))


def test_item_neighbours_are_cosines_and_at_most_k() -> None:
    data = dataset_of([timed([0, 1, 2], [0, 1, 2]), timed([0, 1], [0, 1]), timed([0], [0])], 3)
    model = ItemNeighbours(ItemNeighbours.Config(k=1))
    model.fit(data, RUN)
    scores = model.score([Query(History.of_items([0]), START)])[0]
    np.testing.assert_allclose(scores, [0, 2 / np.sqrt(6), 0])
    shrunk = ItemNeighbours(ItemNeighbours.Config(k=5, shrinkage=1.0))
    shrunk.fit(data, RUN)
    scores = shrunk.score([Query(History.of_items([0]), START)])[0]
    np.testing.assert_allclose(scores, [0, 2 / (np.sqrt(6) + 1), 1 / (np.sqrt(3) + 1)])


def test_user_neighbours_vote_with_their_likeness() -> None:
    data = dataset_of([timed([0, 1], [0, 1]), timed([0, 2, 3], [0, 1, 2])], 4)
    model = UserNeighbours(UserNeighbours.Config())
    model.fit(data, RUN)
    scores = model.score([Query(History.of_items([0]), START)])[0]
    np.testing.assert_allclose(scores[1:], [1 / np.sqrt(2), 1 / np.sqrt(3), 1 / np.sqrt(3)])
