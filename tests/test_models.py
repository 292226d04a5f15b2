import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.histories import History
from zhiyin.core.models import FitReport, Run, TrainingTask
from zhiyin.models.als import Als
from zhiyin.models.biased_mf import BiasedMF
from zhiyin.models.content import ContentNeighbours
from zhiyin.models.ease import Ease
from zhiyin.models.fading import Fading
from zhiyin.models.features import FeatureTrees
from zhiyin.models.growing import Growing
from zhiyin.models.linear import Linear
from zhiyin.models.neighbours import ItemNeighbours, UserNeighbours
from zhiyin.models.popularity import Popularity
from zhiyin.models.sparse_weights import Weights, to_arrays
from zhiyin.testing.model_conformance import CHECKS, PERSONAL_CHECKS, Case, check_finds_the_pattern, registered
from zhiyin.testing.synthetic import DAY, START, dataset_of, planted_groups

PERSONAL = ("ease", "linear", "item-neighbours", "user-neighbours", "content", "als", "biased-mf", "features")
MODELS = ("popularity", "conditional-popularity", "profile", "text-neighbours", *PERSONAL)


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
@pytest.mark.parametrize("check", PERSONAL_CHECKS, ids=lambda check: check.__name__)
def test_model_knows_one_user_from_another(name: str, check: Callable[[Case], None]) -> None:
    check(case_of(name))


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


def test_new_items_are_as_popular_as_those_that_nobody_touched() -> None:
    data = dataset_of([History.of_items([0])], 2)
    model = Popularity(Popularity.Config())
    model.fit(data, RUN)
    np.testing.assert_allclose(model.extended(data.catalog, {}).score([data.query(0)])[0], [1, 0, 0, 0])


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
    np.testing.assert_allclose(weights_of(model)[others, target], expected, atol=1e-5)


def test_ease_on_some_items_is_the_whole_where_they_are_all_and_near_it_otherwise() -> None:
    planted = planted_groups()
    whole, others, some = (Ease(Ease.Config(l2=5.0, support=support)) for support in (None, 32, 8))
    for model in (whole, others, some):
        model.fit(planted.data, RUN)
    np.testing.assert_allclose(weights_of(others), weights_of(whole), atol=1e-5)
    assert (np.count_nonzero(weights_of(some), axis=0) <= 8).all()
    scores = [np.concatenate(model.score(planted.queries)) for model in (whole, some)]
    assert np.asarray(np.corrcoef(scores))[0, 1] > 0.9


def weights_of(model: Linear | Ease) -> FloatMatrix:
    """(rates * items, items)"""
    rates = len(model.config.past) if isinstance(model, Linear) else 1
    n_rows = len(model.parameters()["indptr"]) - 1
    every = np.arange(n_rows), np.ones(n_rows)
    return Weights.from_arrays(model.parameters(), rates).sums([every]).parts(0, np.arange(n_rows // rates))


@given(st.integers(0, 99), st.lists(st.tuples(st.integers(0, 29), st.floats(-1, 1)), max_size=12), st.integers(0, 200))
def test_rows_add_up_however_often_they_are_held_and_however_little_they_count(
    seed: int, held: list[tuple[int, float]], magnitude: int
) -> None:
    cells: Any = sparse.random_array(
        (30, 30), density=0.2, dtype=np.float32, rng=np.random.default_rng(seed), format="csr"
    )
    rows = np.array([row for row, _ in held], np.int64)
    values = np.array([value for _, value in held]) * 10.0**-magnitude
    sums = Weights.from_arrays(to_arrays(cells)).sums([(rows, values)])
    expected = values @ cells.toarray().astype(np.float64)[rows] if held else np.zeros(30)
    near = 1e-6 * np.abs(values).sum()
    np.testing.assert_allclose(sums.scores[0], expected, rtol=0, atol=near)
    np.testing.assert_allclose(sums.parts(0, np.arange(30)).sum(axis=0), expected, rtol=0, atol=near)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=6),
    st.lists(st.floats(0.3, 3), min_size=1, max_size=2),
    st.integers(1, 4),
)
def test_linear_is_the_ridge_regression_of_what_comes_next(
    lines: list[list[int]], past: list[float], horizon: int
) -> None:
    data = dataset_of([History.of_items(line) for line in lines], 7)
    model = Linear(Linear.Config(l2=2.0, past=tuple(past), ahead=0.5, horizon=horizon, words=0))
    model.fit(data, RUN)
    before, behind = np.zeros((0, len(past) * 7)), np.zeros((0, 7))
    for line in lines:
        for cut in range(1, len(line)):
            faded, answer = np.zeros((1, len(past), 7)), np.zeros((1, 7))
            for row, rate in enumerate(past):
                for age, item in enumerate(reversed(line[:cut])):
                    left = np.exp(-rate * age)
                    faded[0, row, item] += np.sqrt(1 - np.exp(-2 * rate)) * left if left >= 0.01 else 0.0
            for age, item in enumerate(line[cut : cut + horizon]):
                answer[0, item] += np.exp(-0.5 * age)
            before, behind = np.vstack([before, faded.reshape(1, -1)]), np.vstack([behind, answer])
    expected = np.linalg.solve(before.T @ before + 2.0 * np.eye(len(past) * 7), before.T @ behind)
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-5)


def test_linear_on_some_rows_is_the_ridge_regression_on_those() -> None:
    rng = np.random.default_rng(0)
    data = dataset_of([History.of_items(rng.integers(0, 12, 9).tolist()) for _ in range(40)], 12)
    whole, some = (Linear(Linear.Config(l2=3.0, words=0, support=support)) for support in (24, 5))
    plain = Linear(Linear.Config(l2=3.0, words=0))
    for model in (plain, whole, some):
        model.fit(data, RUN)
    np.testing.assert_allclose(weights_of(whole), weights_of(plain), atol=1e-5)
    assert (np.count_nonzero(weights_of(some), axis=0) == 5).all()
    sums = Fading(some.config.past, 1.0, 5).sums(data.histories, np.arange(40), 12, 4096.0).toarray()
    for item, column in enumerate(weights_of(some).T):
        rows = np.flatnonzero(column)
        system = sums[np.ix_(rows, rows)] + 3.0 * np.eye(5)
        np.testing.assert_allclose(column[rows], np.linalg.solve(system, sums[rows, 24 + item]), atol=1e-5)


def test_linear_of_a_large_catalogue_finds_what_is_near_by_rare_words(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"tea number{row // 2}" for row in range(12)]
    catalog = Catalog.build(item_id=[str(row) for row in range(12)], title=names)
    data = replace(dataset_of([History.of_items([0, 2])], 12), catalog=catalog)
    compared = Linear(Linear.Config(support=4))
    compared.fit(data, RUN)
    monkeypatch.setattr("zhiyin.models.likeness.ALL_COMPARED", 5)
    monkeypatch.setattr("zhiyin.models.likeness.RARE", 3)
    looked_for = Linear(Linear.Config(support=4))
    looked_for.fit(data, RUN)
    for model in (compared, looked_for):
        scores = model.score([Query(History.of_items([4]), START)])
        assert scores[0].argmax() == 5
    found, every = weights_of(looked_for), weights_of(compared)
    np.testing.assert_allclose(found[10, 11], every[10, 11], rtol=1e-5)


def test_linear_is_drawn_to_the_nearness_of_items_where_there_are_no_events() -> None:
    planted = planted_groups()
    encoders = tuple(planted.data.content)
    lines = [History.of_items([0, 1, 0, 1, 0]) for _ in range(50)]
    data = replace(dataset_of(lines, 32), content=planted.data.content)
    plain, drawn = (
        Linear(Linear.Config(l2=4.0, past=(1.0,), words=0.0, content=content, encoders=encoders))
        for content in (0.0, 2.0)
    )
    near = ContentNeighbours(ContentNeighbours.Config(encoders=encoders))
    for model in (plain, drawn, near):
        model.fit(data, RUN)
    weights = weights_of(drawn)
    untouched = 2.0 / 4.0 * np.sqrt(1 - np.exp(-2.0)) * near.near(np.array([5]))[0]
    untouched[5] = 0.0
    np.testing.assert_allclose(weights[5], untouched, atol=1e-6)
    assert weights[0, 1] == pytest.approx(weights_of(plain)[0, 1], rel=0.1)


def test_linear_knows_new_items_by_their_words() -> None:
    catalog = Catalog.build(item_id=["a", "b", "c"], title=["red tea pot", "blue tea cup", "garden chair"])
    data = replace(dataset_of([History.of_items([0, 1, 2])] * 5, 3), catalog=catalog)
    model = Linear(Linear.Config())
    model.fit(data, RUN)
    later = model.extended(Catalog.build(item_id=["d", "e"], title=["red tea jug", "garden table"]), {})
    scores = later.score([Query(History.of_items([item]), START) for item in (0, 2, 3)])
    assert scores[0, 3] > scores[0, 4] == 0
    assert scores[1, 4] > scores[1, 3] == 0
    assert scores[2, 3] == 0
    assert scores[2, 0] > scores[2, 2]


def test_linear_of_events_alone_cannot_go_on_with_new_items() -> None:
    model = Linear(Linear.Config(words=0.0))
    model.fit(planted_groups().data, RUN)
    with pytest.raises(ConfigError, match="without words and content"):
        model.extended(planted_groups().data.catalog, {})


def test_linear_goes_by_the_order_of_events() -> None:
    data = dataset_of([History.of_items([0, 1, 2]), History.of_items([2, 3, 0])] * 20, 4)
    model = Linear(Linear.Config(horizon=1))
    model.fit(data, RUN)
    for latest, following in ((1, 2), (3, 0)):
        assert model.score([Query(History.of_items([0, latest]), START)])[0].argmax() == following


@given(
    st.lists(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), max_size=5), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_linear_takes_an_order_as_one_step_whatever_the_order_of_its_lines(
    users: list[list[list[int]]], chance: random.Random
) -> None:
    def scores(bought: list[list[list[int]]]) -> FloatMatrix:
        model = Linear(Linear.Config(l2=2.0, together=True, words=0))
        histories = [ordered(orders) for orders in bought]
        model.fit(dataset_of(histories, 7), RUN)
        return model.score([Query(history, START) for history in histories])

    shuffled = [[chance.sample(order, len(order)) for order in orders] for orders in users]
    np.testing.assert_allclose(scores(shuffled), scores(users), atol=1e-5)


def ordered(orders: list[list[int]]) -> History:
    """A day between one order and the next."""
    lines = History.of_items([item for order in orders for item in order])
    days = np.repeat(np.arange(len(orders)), [len(order) for order in orders])
    return replace(lines, timestamps=START + DAY * days)


def test_linear_learns_from_whole_orders_what_the_next_one_holds() -> None:
    histories = [ordered([[0, 1], [2, 3]]), ordered([[4, 5], [6, 0]])]
    model = Linear(Linear.Config(together=True, horizon=1, words=0))
    model.fit(dataset_of(histories * 20, 7), RUN)
    for order, following in (([0, 1], {2, 3}), ([5, 4], {0, 6})):
        scores = model.score([Query(ordered([order]), START)])[0]
        assert set(np.argsort(-scores)[:2].tolist()) == following
        assert np.ptp(scores[sorted(following)]) < 1e-6


def test_what_one_user_adds_to_linear_is_bounded() -> None:
    lines = [History.of_items([0, 1] * 50)]
    sums = []
    for bound in (1.0, 2.0):
        model = Linear(Linear.Config(l2=1e6, bound=bound, words=0))
        model.fit(dataset_of(lines, 2), RUN)
        sums.append(1e6 * weights_of(model))
    np.testing.assert_allclose(sums[1], 2 * sums[0], rtol=1e-4)
    assert np.abs(sums[0]).sum() < 1.5


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


def test_als_vector_is_the_minimum_of_its_loss() -> None:
    planted = planted_groups()
    model = Als(Als.Config(factors=3, l2=0.5, alpha=4.0))
    model.fit(planted.data, RUN)
    vector = model.query_vectors([Query(timed([1, 5], [0, 1]), START)])[0]
    factors = model.item_vectors()
    wanted = np.isin(np.arange(len(factors)), [1, 5])
    confidence = np.where(wanted, 5.0, 1.0)
    gradient = factors.T @ (confidence * (factors @ vector - wanted)) + 0.5 * vector
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_content_reads_the_latest_likes_only() -> None:
    planted = planted_groups()
    model = ContentNeighbours(ContentNeighbours.Config(last=1))
    model.fit(planted.data, RUN)
    long, short = Query(timed([1, 6], [0, 1]), START), Query(timed([6], [0]), START)
    np.testing.assert_allclose(model.score([long]), model.score([short]))
    parts = model.contributions(long, np.array([2, 10])).parts
    np.testing.assert_array_equal(parts[:, 0], 0)
    assert parts[0, 1] > 0


def test_content_without_vectors_names_what_there_is() -> None:
    with pytest.raises(ConfigError, match="planted"):
        ContentNeighbours(ContentNeighbours.Config(encoders=("other",))).fit(planted_groups().data, RUN)


def test_item_without_content_scores_nothing() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    data = dataset_of([timed([0, 1], [0, 1])], 3, content={"plain": vectors})
    model = ContentNeighbours(ContentNeighbours.Config())
    model.fit(data, RUN)
    np.testing.assert_array_equal(model.score([Query(timed([0], [0]), START)])[0, 2], 0)


def rated(items: list[int], ratings: list[float]) -> History:
    history = timed(items, [float(day) for day in range(len(items))])
    return History(history.items, history.weights, np.array(ratings, np.float32), history.timestamps)


def test_ratings_come_near_the_truth_for_users_never_seen() -> None:
    generator = np.random.default_rng(5)
    people, things = generator.standard_normal((230, 2)), generator.standard_normal((40, 2))
    bias = generator.normal(0, 0.4, 40)
    truth = np.clip(3 + bias + 0.6 * people @ things.T + generator.normal(0, 0.3, (230, 40)), 1, 5)
    histories = []
    for row in truth:
        items = generator.choice(40, 25, replace=False)
        histories.append(rated([int(item) for item in items], [float(row[item]) for item in items]))
    data = dataset_of(histories[:200], 40, rating_scale=(1.0, 5.0))
    model = BiasedMF(BiasedMF.Config(factors=2))
    model.fit(data, RUN)
    errors, spread = [], []
    for row, history in zip(truth[200:], histories[200:], strict=True):
        unseen = np.setdiff1d(np.arange(40), history.items)
        predicted = model.predict_ratings([Query(history, START)], unseen)[0]
        errors.append(predicted - row[unseen])
        spread.append(row[unseen] - truth[:200, unseen].mean(axis=0))
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 0.45
    assert np.sqrt(np.mean(np.concatenate(spread) ** 2)) > 0.8


def test_a_user_who_rates_high_is_expected_to_go_on_so() -> None:
    planted = planted_groups()
    model = BiasedMF(BiasedMF.Config(factors=0))
    model.fit(planted.data, RUN)
    kind, strict = (Query(rated([1, 2, 3], [stars] * 3), START) for stars in (5.0, 1.0))
    assert (model.score([kind]) > model.score([strict])).all()


def test_weights_stand_in_where_there_are_no_ratings() -> None:
    histories = [timed([0, 1, 2], [0, 1, 2], [1, 1, -1]), timed([0, 2], [0, 1], [1, -1])] * 10
    model = BiasedMF(BiasedMF.Config(factors=1))
    model.fit(dataset_of(histories, 3), RUN)
    predicted = model.predict_ratings([Query(timed([0], [0]), START)], np.arange(3))[0]
    assert predicted[1] > predicted[2]
    assert np.abs(predicted).max() <= 1


def test_trees_learn_taste_from_user_features_alone() -> None:
    planted = planted_groups()
    model = FeatureTrees(FeatureTrees.Config())
    model.fit(planted.data, RUN)
    taste = np.eye(4, dtype=np.float32)
    scores = model.score([Query(History.of_items([]), START, taste[group]) for group in range(4)])
    means = np.array([[row[planted.groups == group].mean() for group in range(4)] for row in scores])
    np.testing.assert_array_equal(means.argmax(axis=1), np.arange(4))


def test_trees_work_without_any_features() -> None:
    data = dataset_of([timed([0, 1, 0], [0, 1, 2]), timed([0, 2], [0, 1])] * 20, 6)
    model = FeatureTrees(FeatureTrees.Config(trees=20))
    model.fit(data, RUN)
    scores = model.score([Query(History.of_items([]), START)])[0]
    assert scores[0] > scores[5]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=12))
def test_tables_grow_and_never_change(steps: list[tuple[int, int]]) -> None:
    tables = [(Growing(np.arange(6.0).reshape(3, 2)), np.arange(6.0).reshape(3, 2))]
    for step, (more, chosen) in enumerate(steps):
        table, expected = tables[chosen % len(tables)]
        rows = np.full((more, 2), float(step))
        tables.append((table.with_more(rows), np.concatenate([expected, rows])))
    for table, expected in tables:
        np.testing.assert_array_equal(table.rows, expected)
