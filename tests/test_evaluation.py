"""Evaluation: metrics against independent libraries, intervals, tests, slices and the report."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import pytrec_eval
from pydantic import BaseModel
from sklearn.metrics import mean_absolute_error, mean_squared_error, roc_auc_score

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Holdout, Query
from zhiyin.core.errors import InputError
from zhiyin.core.histories import History
from zhiyin.core.models import Candidates, FitReport, Parameters, Run, gather
from zhiyin.evaluation.intervals import bootstrap_interval, bootstrap_intervals, paired_test
from zhiyin.evaluation.ranking import NO_ITEM, evaluate_ranking, top_k
from zhiyin.evaluation.rating import evaluate_ratings


class Settings(BaseModel):
    pass


class Table:
    """A model whose scores are given: the query's `now` is its row."""

    name: ClassVar[str] = "table"
    Config: ClassVar[type[Any]] = Settings

    def __init__(self, config: Any) -> None:
        self.config = config
        self.scores: FloatMatrix = np.empty((0, 0))

    @classmethod
    def of(cls, scores: FloatMatrix) -> "Table":
        model = cls(Settings())
        model.scores = scores
        return model

    def fit(self, data: Dataset, run: Run) -> FitReport:
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.scores[[query.now for query in queries]], candidates)

    def predict_ratings(self, queries: Sequence[Query], candidates: Candidates) -> FloatMatrix:
        return self.score(queries, candidates)

    def parameters(self) -> Parameters:
        return {}

    def load_parameters(self, parameters: Parameters) -> None:
        return


def rows(*values: int) -> IntVector:
    return np.array(values, np.int64)


def holdout_of(
    targets: Sequence[IntVector], seen: Sequence[IntVector], ratings: Sequence[Sequence[float]] | None = None
) -> Holdout:
    return Holdout(
        "test",
        np.arange(len(targets)),
        tuple(Query(History.of_items(items), row) for row, items in enumerate(seen)),
        tuple(targets),
        tuple(np.full(len(t), np.nan) for t in targets)
        if ratings is None
        else tuple(np.asarray(r, np.float64) for r in ratings),
        tuple(seen),
    )


def random_case(seed: int, n_users: int = 40, n_items: int = 60) -> tuple[FloatMatrix, Holdout]:
    generator = np.random.default_rng(seed)
    targets, seen = [], []
    for _ in range(n_users):
        shuffled = generator.permutation(n_items).astype(np.int64)
        t, s = int(generator.integers(1, 20)), int(generator.integers(0, 25))
        targets.append(shuffled[:t])
        seen.append(shuffled[t : t + s])
    return generator.normal(size=(n_users, n_items)), holdout_of(targets, seen)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("view", ["all", "first", "last"])
def test_ranking_agrees_with_trec_eval(seed: int, view: Any) -> None:
    scores, holdout = random_case(seed)
    result = evaluate_ranking(Table.of(scores), holdout, scores.shape[1], ks=(5, 10, 60), batch=7)
    span = {"all": slice(None), "first": slice(1), "last": slice(-1, None)}[view]
    truth = {str(u): {str(i): 1 for i in targets[span]} for u, targets in enumerate(holdout.targets)}
    run = {
        str(u): {str(i): float(scores[u, i]) for i in range(scores.shape[1]) if i not in holdout.seen[u]}
        for u in range(len(holdout))
    }
    wanted = {"recall.5,10", "P.5,10", "success.5,10", "ndcg_cut.5,10", "map_cut.5,10", "recip_rank"}
    evaluator: Any = pytrec_eval.RelevanceEvaluator
    expected = evaluator(truth, wanted).evaluate(run)
    ours = result.per_user(view)
    names = {"recall": "recall", "precision": "P", "hit": "success", "ndcg": "ndcg_cut", "map": "map_cut"}
    for user in range(len(holdout)):
        for name, other in names.items():
            for k in (5, 10):
                assert ours[f"{name}@{k}"][user] == pytest.approx(expected[str(user)][f"{other}_{k}"])
        reciprocal = expected[str(user)]["recip_rank"]
        assert ours["mrr@60"][user] == pytest.approx(reciprocal)
        assert ours["mrr@5"][user] == pytest.approx(reciprocal if reciprocal >= 1 / 5 else 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_auc_agrees_with_scikit_learn_over_unseen_items(seed: int) -> None:
    scores, holdout = random_case(seed)
    result = evaluate_ranking(Table.of(scores), holdout, scores.shape[1])
    expected = []
    for user, targets in enumerate(holdout.targets):
        unseen = np.setdiff1d(np.arange(scores.shape[1]), holdout.seen[user])
        expected.append(roc_auc_score(np.isin(unseen, targets), scores[user, unseen]))
    np.testing.assert_allclose(result.metrics["auc"], expected)
    assert result.means()["auc"] == pytest.approx(np.mean(expected))


def test_ties_go_against_the_model() -> None:
    holdout = holdout_of([rows(0, 1)], [rows(5)])
    constant = evaluate_ranking(Table.of(np.zeros((1, 6))), holdout, 6, ks=(3, 5))
    assert constant.metrics["recall@3"][0] == 0
    assert constant.metrics["mrr@5"][0] == pytest.approx(1 / 4)
    assert constant.metrics["recall@5"][0] == 1
    assert constant.metrics["auc"][0] == 0
    assert constant.first["mrr@5"][0] == pytest.approx(1 / 5)
    partial = evaluate_ranking(Table.of(np.array([[2.0, 1.0, 2.0, 1.0, 0.0, 9.0]])), holdout, 6, ks=(4,))
    assert partial.metrics["map@4"][0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert partial.metrics["auc"][0] == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_lists_hold_no_seen_item_and_end_where_items_do() -> None:
    scores, holdout = random_case(3, n_items=45)
    result = evaluate_ranking(Table.of(scores), holdout, 45, ks=(40,))
    assert result.lists.shape == (len(holdout), 40)
    for user, line in enumerate(result.lists):
        listed = line[line != NO_ITEM]
        assert len(listed) == min(40, 45 - len(holdout.seen[user]))
        assert not np.isin(listed, holdout.seen[user]).any()
        assert (np.diff(scores[user, listed]) <= 0).all()


def test_equal_scores_are_listed_in_the_order_of_items() -> None:
    assert top_k(np.array([[1.0, 3.0, 1.0, 1.0, 3.0]]), 4).tolist() == [[1, 4, 0, 2]]


def test_a_seen_target_is_never_found_and_a_user_without_targets_counts_nowhere() -> None:
    holdout = holdout_of([rows(0), rows(), rows(1)], [rows(0), rows(), rows()])
    result = evaluate_ranking(Table.of(np.array([[9.0, 1.0], [1.0, 2.0], [1.0, 2.0]])), holdout, 2, ks=(2,))
    np.testing.assert_array_equal(result.metrics["recall@2"], [0, np.nan, 1])
    assert result.metrics["auc"][0] == 0
    assert result.means()["recall@2"] == 0.5


@pytest.mark.parametrize(
    ("scores", "targets", "ks", "message"),
    [
        (np.zeros((1, 3)), rows(0), (0,), "cut-offs"),
        (np.zeros((1, 3)), rows(7), (1,), "outside"),
        (np.zeros((1, 2)), rows(0), (1,), "shape"),
        (np.full((1, 3), np.nan), rows(0), (1,), "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_named(scores: FloatMatrix, targets: IntVector, ks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_ranking(Table.of(scores), holdout_of([targets], [rows()]), 3, ks=ks)


def test_ratings_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    targets = [generator.permutation(30)[: generator.integers(0, 12)].astype(np.int64) for _ in range(25)]
    ratings = [generator.integers(1, 6, len(t)).astype(float) for t in targets]
    ratings[0][:] = np.nan
    predictions = generator.uniform(1, 5, (25, 30))
    result = evaluate_ratings(
        Table.of(predictions), holdout_of(targets, [rows() for _ in targets], [list(r) for r in ratings]), batch=4
    )
    actual = np.concatenate(ratings[1:])
    predicted = np.concatenate([predictions[u, t] for u, t in enumerate(targets)][1:])
    assert result.metrics["rmse"] == pytest.approx(mean_squared_error(actual, predicted) ** 0.5)
    assert result.metrics["mae"] == pytest.approx(mean_absolute_error(actual, predicted))
    per_user = result.per_user(25)
    assert np.isnan(per_user["mse"][0])
    user = next(u for u in range(1, 25) if len(targets[u]))
    assert per_user["mse"][user] == pytest.approx(mean_squared_error(ratings[user], predictions[user, targets[user]]))


def test_a_holdout_without_ratings_is_refused() -> None:
    with pytest.raises(InputError, match="no ratings"):
        evaluate_ratings(Table.of(np.zeros((1, 2))), holdout_of([rows(0)], [rows()]))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        values = np.random.default_rng(seed).beta(0.5, 2, 150)
        interval = bootstrap_interval(values, seed=seed, draws=400)
        assert interval.low <= interval.mean <= interval.high
        covered += interval.low <= 0.2 <= interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_intervals_repeat_with_their_seed_and_leave_out_the_undefined() -> None:
    values = np.append(np.random.default_rng(0).normal(size=99), np.nan)
    together = bootstrap_intervals({"a": values, "b": values * 2, "none": np.full(100, np.nan)}, seed=4)
    assert together["a"] == bootstrap_interval(values, seed=4)
    assert together["a"] != bootstrap_interval(values, seed=5)
    assert together["a"].n == 99
    assert together["a"].mean == pytest.approx(np.nanmean(values))
    assert together["none"].n == 0
    assert np.isnan(together["none"].mean)


def test_the_paired_test_finds_a_planted_difference_and_no_other() -> None:
    false_alarms = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        shared = generator.normal(size=200)
        first, second = shared + generator.normal(0, 0.1, 200), shared + generator.normal(0, 0.1, 200)
        false_alarms += paired_test(first, second, seed, draws=499).p < 0.05
        if seed < 10:
            planted = paired_test(first + 0.05, second, seed, draws=999)
            assert planted.p < 0.01
            assert planted.difference.low > 0
            assert paired_test(second, first + 0.05, seed, draws=999).p == planted.p
    assert false_alarms <= 12


def test_a_model_does_not_differ_from_itself() -> None:
    values = np.random.default_rng(0).random(50)
    assert paired_test(values, values).p == 1.0
    with pytest.raises(InputError, match="same users"):
        paired_test(values, values[1:])
