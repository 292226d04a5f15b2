"""Evaluation: metrics against independent libraries, intervals, tests, slices and the report."""

import json
import re
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytrec_eval
from pydantic import BaseModel
from sklearn.metrics import mean_absolute_error, mean_squared_error, roc_auc_score

from zhiyin.core.arrays import FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Features, Holdout, Query
from zhiyin.core.errors import InputError
from zhiyin.core.events import MISSING_TIME, text
from zhiyin.core.histories import Histories, History
from zhiyin.core.models import Candidates, FitReport, Parameters, Run, gather
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.evaluation.beyond import evaluate_beyond, gini, intra_list_diversity, item_popularity
from zhiyin.evaluation.controls import DifferentLists, different_lists, swapped
from zhiyin.evaluation.intervals import bootstrap_interval, bootstrap_intervals, paired_test
from zhiyin.evaluation.leaderboard import Entry, Leaderboard
from zhiyin.evaluation.ranking import NO_ITEM, evaluate_ranking, top_k
from zhiyin.evaluation.rating import RatingResult, evaluate_ratings
from zhiyin.evaluation.report import DataProfile, ReportParts, profile_of, render_report, write_report
from zhiyin.evaluation.slices import by_attribute, by_attributes, by_history_length, by_target_popularity, slice_figures


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
    ours = {"all": result.metrics, "first": result.first, "last": result.last}[view]
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
    np.testing.assert_allclose(result.metrics["gauc"], expected)
    assert result.means()["gauc"] == pytest.approx(np.mean(expected))


def test_ties_go_against_the_model() -> None:
    holdout = holdout_of([rows(0, 1)], [rows(5)])
    constant = evaluate_ranking(Table.of(np.zeros((1, 6))), holdout, 6, ks=(3, 5))
    assert constant.metrics["recall@3"][0] == 0
    assert constant.metrics["mrr@5"][0] == pytest.approx(1 / 4)
    assert constant.metrics["recall@5"][0] == 1
    assert constant.metrics["gauc"][0] == 0
    assert constant.first["mrr@5"][0] == pytest.approx(1 / 5)
    partial = evaluate_ranking(Table.of(np.array([[2.0, 1.0, 2.0, 1.0, 0.0, 9.0]])), holdout, 6, ks=(4,))
    assert partial.metrics["map@4"][0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert partial.metrics["gauc"][0] == pytest.approx((2 / 3 + 1 / 3) / 2)


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
    assert result.metrics["gauc"][0] == 0
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
    columns = {"a": values, "b": values * 2, "none": np.full(100, np.nan)}
    together = bootstrap_intervals(columns, seed=4)
    assert bootstrap_intervals(columns, seed=4)["a"] == together["a"]
    # Sums over several columns may round otherwise than over one.
    assert astuple(together["a"]) == pytest.approx(astuple(bootstrap_interval(values, seed=4)), rel=1e-12)
    assert astuple(together["a"]) != pytest.approx(astuple(bootstrap_interval(values, seed=5)), rel=1e-3)
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


def test_lists_beyond_accuracy() -> None:
    lists = np.array([[0, 1], [0, NO_ITEM]])
    holdout = holdout_of([rows(3), rows(3)], [rows(2), rows(2)])
    popularity = np.array([8, 4, 2, 0])
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    result = evaluate_beyond(lists, holdout, popularity, n_users=8, vectors=vectors)
    assert result.totals["coverage"] == 0.5
    np.testing.assert_allclose(result.per_user["novelty"], [0.5, 0.0])
    np.testing.assert_allclose(result.per_user["diversity"], [1.0, np.nan])
    assert result.totals["popularity_lift"] == pytest.approx((6 + 8) / 2 / 2 - 1)
    with pytest.raises(InputError, match="lists"):
        evaluate_beyond(lists[:1], holdout, popularity, 8)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(30, 8))
    lists = np.stack([generator.permutation(30)[:6] for _ in range(5)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [np.mean([1 - unit[a] @ unit[b] for a, b in combinations(line, 2)]) for line in lists]
    np.testing.assert_allclose(intra_list_diversity(lists, vectors), expected)


def test_gini_runs_from_equal_to_concentrated() -> None:
    assert gini(np.array([3, 3, 3])) == pytest.approx(0)
    assert gini(np.array([0] * 99 + [7])) == pytest.approx(0.99)
    counts = np.random.default_rng(0).integers(0, 50, 40)
    pairwise = np.abs(counts[:, None] - counts).sum() / (2 * 40 * counts.sum())
    assert gini(counts) == pytest.approx(pairwise)


def test_popularity_counts_users_not_events() -> None:
    items = rows(0, 0, 1, 1)
    histories = Histories(rows(0, 3, 4), items, np.ones(4), np.full(4, np.nan), np.zeros(4, np.int64))
    assert item_popularity(histories, 3).tolist() == [1, 2, 0]


def test_slices_divide_the_users() -> None:
    holdout = holdout_of([rows(0), rows(1), rows(2), rows()], [rows(), rows(1), rows(*range(7)), rows(*range(300))])
    by_length = by_history_length(holdout)
    assert [(part.label, part.rows.tolist().index(True)) for part in by_length] == [
        ("0", 0),
        ("1–4", 1),
        ("5–19", 2),
        ("100+", 3),
    ]
    by_popularity = by_target_popularity(holdout, np.array([50, 30, 20]))
    assert [(part.label, part.rows.tolist()) for part in by_popularity] == [
        ("head", [True, False, False, False]),
        ("middle", [False, True, False, False]),
        ("tail", [False, False, True, False]),
    ]
    by_city = by_attribute("city", text(["北京", None, "北京", "Oslo"]), at_most=1)
    assert [(part.label, int(part.rows.sum())) for part in by_city] == [("北京", 2), ("other", 1), ("unknown", 1)]
    figures = slice_figures({"hit@1": np.array([1.0, 0.0, 0.0, 1.0])}, by_city)
    assert [(part.users, part.metrics["hit@1"].mean) for part in figures] == [(2, 0.5), (1, 1.0), (1, 0.0)]
    with pytest.raises(InputError, match="users"):
        slice_figures({"hit@1": np.ones(3)}, by_city)


def leaderboard() -> Leaderboard:
    generator = np.random.default_rng(0)
    base = generator.random(120) * 0.5
    beyond = {"coverage": 0.4, "diversity": 0.6, "novelty": 3.0, "gini": float("nan"), "popularity_lift": 0.5}
    entries = [
        Entry(name, {"k": 5}, {"ndcg@10": base + gain, "recall@10": base + 2 * gain}, 1.5, beyond=beyond)
        for name, gain in (("popularity", 0.0), ("<b>&流行", 0.1), ("$als$", 0.05 * generator.random(120)))
    ]
    return Leaderboard.build(entries, protocol="time split", baseline="popularity")


def test_the_leaderboard_is_sorted_and_tested_against_its_baseline() -> None:
    board = leaderboard()
    assert [row.model for row in board.rows] == ["<b>&流行", "$als$", "popularity"]
    assert board.best.test is not None
    assert board.best.test.p < 0.01
    document = json.loads(board.to_json())
    assert document["rows"][2]["p"] is None
    assert document["rows"][0]["beyond"]["gini"] is None
    best = document["rows"][0]["metrics"]["ndcg@10"]
    assert best["low"] < best["mean"] < best["high"]


def test_errors_are_sorted_from_the_least() -> None:
    generator = np.random.default_rng(0)
    targets = [generator.permutation(10)[:4].astype(np.int64) for _ in range(30)]
    truth = generator.uniform(1, 5, (30, 10))
    holdout = holdout_of(targets, [rows()] * 30, [list(truth[u, t]) for u, t in enumerate(targets)])
    entries = []
    for name, noise in (("rough", 1.0), ("fine", 0.1)):
        result = evaluate_ratings(Table.of(truth + generator.normal(0, noise, truth.shape)), holdout)
        intervals = result.intervals(30)
        assert intervals["rmse"].mean == pytest.approx(result.metrics["rmse"])
        assert intervals["mae"].low < result.metrics["mae"] < intervals["mae"].high
        entries.append(Entry(name, {}, result.per_user(30), 0.1, intervals))
    board = Leaderboard.build(entries, protocol="cv", metric="rmse", baseline="rough")
    assert [row.model for row in board.rows] == ["fine", "rough"]
    assert board.best.test is not None
    assert board.best.test.difference.high < 0


def test_a_leaderboard_names_what_it_lacks() -> None:
    entry = Entry("a", {}, {"ndcg@10": np.ones(3)}, 1.0)
    with pytest.raises(InputError, match="baseline"):
        Leaderboard.build([entry], protocol="time", baseline="b")
    with pytest.raises(InputError, match="recall@5"):
        Leaderboard.build([entry], protocol="time", metric="recall@5")
    with pytest.raises(InputError, match="different names"):
        Leaderboard.build([entry, entry], protocol="time")
    with pytest.raises(InputError, match="empty"):
        _ = Leaderboard.build([], protocol="time").best


def report_parts() -> tuple[DataProfile, ReportParts]:
    generator = np.random.default_rng(0)
    popularity = (500 / np.arange(1, 301)).astype(np.int64)
    profile = DataProfile({"users": "120", "items": "300"}, generator.integers(1, 200, 120), popularity)
    holdout = holdout_of([rows(0)] * 120, [rows(*range(n)) for n in generator.integers(0, 120, 120)])
    slices = {
        model: slice_figures({"ndcg@10": generator.random(120)}, by_history_length(holdout))
        for model in ("als", "popularity")
    }
    curves = {"als": [{"loss": 1 / e, "validation": 0.1 - (e - 6) ** 2 / 1000} for e in range(1, 11)], "ease": []}
    return profile, ReportParts(curves, slices, None, {"als": popularity[::-1]}, ("Seed 0 & <i>.",))


def test_the_report_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    profile, parts = report_parts()
    path = write_report(tmp_path / "new" / "report.html", leaderboard(), profile, parts, title="A <report>")
    page = path.read_text(encoding="utf-8")
    assert "http:" not in page
    assert "https:" not in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", page)
    assert "@import" not in page
    assert "<script" not in page
    assert page.count("<svg") == page.count('role="img"') == 6


def test_the_report_escapes_names_and_follows_the_colour_scheme() -> None:
    profile, parts = report_parts()
    page = render_report(leaderboard(), profile, parts, title="A <report>")
    assert "<b>&流行" not in page
    assert "&lt;b&gt;&amp;流行" in page
    assert "A &lt;report&gt;" in page
    assert "Seed 0 &amp; &lt;i&gt;." in page
    assert "$als$" in page
    assert "prefers-color-scheme: dark" in page
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--accent)" in drawn
    assert "#0102" not in drawn
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(identifiers)


def test_the_report_repeats_to_the_byte() -> None:
    profile, parts = report_parts()
    created = datetime(2024, 5, 1, tzinfo=UTC)
    first, second = (render_report(leaderboard(), profile, parts, created=created) for _ in range(2))
    assert first == second


def test_the_report_leaves_out_what_it_was_not_given() -> None:
    entry = Entry("only", {}, {"ndcg@10": np.full(5, np.nan)}, 1.0)
    board = Leaderboard.build([entry], protocol="time")
    page = render_report(board, DataProfile({}, np.empty(0, np.int64), np.empty(0, np.int64)))
    assert page.count("<svg") == 1
    assert 'id="learning"' not in page


def test_the_profile_tells_of_the_data() -> None:
    day = 86_400_000
    data = Dataset(
        users=Vocabulary(["a", "b"]),
        items=Vocabulary(["x", "y", "z"]),
        histories=Histories(
            rows(0, 3, 4), rows(0, 0, 1, 1), np.ones(4), np.full(4, np.nan), rows(MISSING_TIME, day, 2 * day, 3 * day)
        ),
        catalog=Catalog.build(item_id=["x", "y", "z"]),
        user_features=Features((), np.empty((2, 0))),
        item_features=Features((), np.empty((3, 0))),
        content={},
        rating_scale=None,
        now=3 * day,
        fingerprint="",
    )
    profile = profile_of(data)
    assert profile.figures["events"] == "4"
    assert profile.figures["of all pairs known"] == "50.00%"
    assert profile.figures["from – to"] == "1970-01-02 – 1970-01-04"
    assert profile.popularity.tolist() == [1, 2, 0]


def test_folds_are_brought_together_by_user() -> None:
    first = holdout_of([rows(0, 1)], [rows()], [[1.0, 2.0]])
    second = holdout_of([rows(2)], [rows()], [[5.0]])
    predictions = Table.of(np.array([[2.0, 2.0, 3.0]]))
    folds = RatingResult.over_folds([evaluate_ratings(predictions, h) for h in (first, second)], [first, second])
    assert folds.metrics["rmse"] == pytest.approx(np.sqrt(5 / 3))
    assert folds.per_user(1)["mae"][0] == pytest.approx(1.0)


class Reader:
    """A model that scores the items next to the user's latest one, or everything alike where `deaf`."""

    name: ClassVar[str] = "reader"
    Config: ClassVar[type[Any]] = Settings

    def __init__(self, config: Any) -> None:
        self.config = config
        self.n_items, self.deaf = 0, False

    @classmethod
    def over(cls, n_items: int, *, deaf: bool) -> "Reader":
        model = cls(Settings())
        model.n_items, model.deaf = n_items, deaf
        return model

    def fit(self, data: Dataset, run: Run) -> FitReport:
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        items = np.arange(self.n_items)
        latest = [0 if self.deaf else int(query.history.items[-1]) for query in queries]
        return gather(-np.abs(items - np.array(latest)[:, None] - 0.6).astype(float), candidates)

    def parameters(self) -> Parameters:
        return {}

    def load_parameters(self, parameters: Parameters) -> None:
        return


def neighbourly(n_users: int = 60) -> Holdout:
    """Users whose next item lies beside their last one."""
    return holdout_of([rows(2 * u + 1) for u in range(n_users)], [rows(2 * u) for u in range(n_users)])


def test_a_model_that_reads_the_person_does_worse_on_other_users_histories() -> None:
    holdout, n_items = neighbourly(), 125
    given = swapped(holdout, seed=3)
    for own, other, taken in zip(holdout.queries, given.queries, range(len(holdout)), strict=True):
        assert other.history is not own.history
        assert other.now == own.now
        assert given.targets[taken] is holdout.targets[taken]
        assert given.seen[taken] is holdout.seen[taken]
    assert sorted(q.history.items[0] for q in given.queries) == sorted(q.history.items[0] for q in holdout.queries)
    assert [q.history.items[0] for q in swapped(holdout, seed=3).queries] == [q.history.items[0] for q in given.queries]
    entries = []
    for name, deaf in (("popular", True), ("personal", False)):
        model = Reader.over(n_items, deaf=deaf)
        figures = evaluate_ranking(model, holdout, n_items).metrics
        fed = evaluate_ranking(model, given, n_items).metrics["ndcg@10"]
        different = different_lists(model, holdout)
        entries.append(Entry(name, {}, figures, 0.1, swapped=fed if different.lists > 1 else None, different=different))
    board = Leaderboard.build(entries, protocol="time", baseline="popular", chosen="personal")
    personal, popular = board.rows
    assert personal.control is not None
    assert personal.control.test.p < 0.01
    assert personal.control.others.mean < personal.metrics["ndcg@10"].mean / 2
    assert personal.different == DifferentLists(50, 50)
    assert popular.control is None
    assert popular.different == DifferentLists(1, 50)
    with pytest.raises(InputError, match="two users"):
        swapped(holdout_of([rows(0)], [rows(1)]))
    page = render_report(board, DataProfile({}, np.empty(0, np.int64), np.empty(0, np.int64)))
    assert "50 of 50" in page
    assert "from others' histories" in page


def test_a_leaderboard_is_read_back_as_it_was_written() -> None:
    first = Leaderboard.build(
        [
            Entry("a", {"k": 5}, {"ndcg@10": np.array([0.1, 0.4]), "gauc": np.full(2, np.nan)}, 1.0),
            Entry(
                "b",
                {},
                {"ndcg@10": np.array([0.3, 0.9]), "gauc": np.ones(2)},
                2.0,
                beyond={"coverage": 0.5, "gini": float("nan")},
                validation=bootstrap_interval(np.array([0.2, 0.3])),
                swapped=np.array([0.0, 0.1]),
                different=DifferentLists(2, 2),
            ),
        ],
        protocol="time",
        baseline="a",
        chosen="b",
    )
    again = Leaderboard.from_json(first.to_json())
    assert again.to_json() == first.to_json()
    assert again.main.model == "b"
    assert again.main.control == first.main.control
    assert again.main.test == first.main.test


def test_attributes_of_few_values_and_of_numbers_make_slices() -> None:
    n = 40
    attributes = {
        "gender": text(["F", "M"] * 20),
        "age": text([str(20 + row) for row in range(n - 1)] + [None]),
        "town": text([f"town {row}" for row in range(n)]),
        "code": text([f"{row:05}" for row in range(n)]),
        "country": text(["NO"] * n),
    }
    users = np.arange(0, n, dtype=np.int64)
    slices = by_attributes(attributes, users)
    assert [(part.kind, part.label, int(part.rows.sum())) for part in slices] == [
        ("gender", "F", 20),
        ("gender", "M", 20),
        ("age", "20–29", 10),
        ("age", "30–39", 10),
        ("age", "40–48", 9),
        ("age", "49–58", 10),
        ("age", "unknown", 1),
    ]
    assert [int(part.rows.sum()) for part in by_attributes(attributes, rows(1, 3, 5))] == [3, 1, 1, 1]
