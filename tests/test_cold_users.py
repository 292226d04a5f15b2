from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiyin.app.cold_users import (
    AFTER,
    CUT,
    POPULAR,
    ColdUsersReport,
    ColdUsersRequest,
    ColdUsersRow,
    compare_cold_users,
)
from zhiyin.app.selection import WATCHED
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import History
from zhiyin.core.models import Run
from zhiyin.dataset.splits import newcomer_splits
from zhiyin.evaluation.curves import save_curves
from zhiyin.models.conditional import ConditionalPopularity
from zhiyin.testing.synthetic import DAY, START, dataset_of
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

RUN = Run(PlainTrainer(), PlainStatistics())
GROUPS, PER_GROUP, MET = 4, 10, 9
CONDITIONAL = "conditional-popularity"


def history(items: Sequence[int], days: Sequence[float], dislikes: Sequence[int] = ()) -> History:
    plain = History.of_items(list(items))
    weights = np.where(np.isin(items, dislikes), -1, 1).astype(np.float32)
    return replace(plain, weights=weights, timestamps=np.array([START + int(day * DAY) for day in days], np.int64))


@cache
def arrivals(n_users: int = 300) -> Dataset:
    """People who come one after another and each meet most items of the one of four groups that they like."""
    generator = np.random.default_rng(0)
    histories = []
    for user in range(n_users):
        items = generator.permutation(np.arange(PER_GROUP) * GROUPS + user % GROUPS)[:MET]
        histories.append(history(items.tolist(), [(user + place / MET) / 3 for place in range(MET)]))
    return dataset_of(histories, GROUPS * PER_GROUP)


def few() -> Dataset:
    """Four who were there before the last third of the events, one of them in it, too, and one who came then."""
    old = [history([0, 1, 2, 3], [0, 0.1, 0.2, 0.3]) for _ in range(3)]
    back = history([0, 1, 2, 3, 4], [0, 0.1, 0.2, 0.3, 9])
    came = history([5, 6, 7, 5, 8, 7, 9], [10, 11, 12, 13, 14, 15, 16], dislikes=[8])
    return dataset_of([*old, back, came], 10)


def fitted(data: Dataset, prior: float = 5.0, k: int = 200) -> ConditionalPopularity:
    model = ConditionalPopularity(ConditionalPopularity.Config(prior=prior, k=k))
    model.fit(data, RUN)
    return model


def asked(*items: int) -> Query:
    return Query(History.of_items(list(items)), START)


def test_newcomers_are_unknown_to_training_and_asked_after_their_first_events() -> None:
    splits = newcomer_splits(few(), 0.7, (0, 1, 2))
    assert list(splits) == [0, 1, 2]
    for k, split in splits.items():
        assert split.holdout.users.tolist() == [4]
        assert split.train.histories.lengths.tolist() == [4, 4, 4, 4, 0]
        (query,) = split.holdout.queries
        assert query.history.items.tolist() == [5, 6][:k]
        assert query.now == START + (10 if k < 2 else 11) * DAY
        assert split.holdout.targets[0].tolist() == [7, 9], "neither what was met before nor what is disliked"
        assert split.holdout.seen[0].tolist() == [5, 6]


def test_training_ends_where_newcomers_begin() -> None:
    data = arrivals()
    splits = newcomer_splits(data, CUT, AFTER)
    train, holdout = splits[1].train, splits[1].holdout
    assert all(split.train is train for split in splits.values())
    assert train.histories.timestamps.max() < min(query.now for query in holdout.queries)
    assert train.fingerprint != data.fingerprint
    assert train.histories.lengths[holdout.users].sum() == 0


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True))
def test_answers_follow_the_greatest_number_of_events_whatever_is_asked(after: list[int]) -> None:
    data = arrivals()
    for k, split in newcomer_splits(data, CUT, after).items():
        for user, query, targets in zip(
            *(getattr(split.holdout, n) for n in ("users", "queries", "targets")), strict=True
        ):
            whole = data.histories.of(user).items
            assert query.history.items.tolist() == whole[:k].tolist()
            assert targets.tolist() == whole[max(after) :].tolist()


def test_data_without_newcomers_or_times_is_refused() -> None:
    with pytest.raises(InputError, match="no user first comes in the last 30% of the events and goes on after 7"):
        newcomer_splits(few(), 0.7, (7,))
    data = few()
    times = np.full(len(data.histories.items), MISSING_TIME)
    with pytest.raises(InputError, match="needs timestamps"):
        newcomer_splits(replace(data, histories=replace(data.histories, timestamps=times)), 0.7, (1,))


def test_one_event_lifts_what_goes_with_it_above_what_is_popular() -> None:
    liked = [[0, 1]] * 6 + [[2, 3]] * 8
    model = fitted(dataset_of([history(items, [0, 0]) for items in liked], 5), prior=1.0)
    nothing, one = model.score([asked(), asked(0)])
    assert np.argsort(-nothing, kind="stable").tolist() == [2, 3, 0, 1, 4]
    assert one[1] > nothing[1]
    assert np.argmax(one[1:]) == 0
    np.testing.assert_allclose(one[[2, 3, 4]], nothing[[2, 3, 4]])


def test_few_who_liked_an_item_move_a_list_less_than_many() -> None:
    def lift(prior: float) -> float:
        liked = [[0, 1]] * 6 + [[2, 3]] * 20
        scores = fitted(dataset_of([history(items, [0, 0]) for items in liked], 4), prior).score([asked(), asked(0)])
        return float(scores[1, 1] - scores[0, 1])

    assert lift(1) > lift(10) > lift(100) > 0


def test_lift_is_that_of_the_formula() -> None:
    liked = [[0, 1], [0, 1], [0, 2], [1, 2], [2, 3]]
    prior = 2.0
    model = fitted(dataset_of([history(items, [0, 0]) for items in liked], 4), prior)
    nothing, two = model.score([asked(), asked(0, 2)])
    np.testing.assert_allclose(nothing, np.log1p([3, 3, 3, 1]))

    def lift(both: int, own: int, share: float) -> float:
        return float(np.log((both + prior * share) / ((own + prior) * share)))

    assert two[1] - nothing[1] == pytest.approx((lift(2, 3, 0.6) + lift(1, 3, 0.6)) / 3)


def test_an_item_speaks_for_those_that_most_like_with_it() -> None:
    liked = [[0, 1]] * 3 + [[0, 2]] * 2 + [[3, 4]] * 5
    nothing, one = fitted(dataset_of([history(items, [0, 0]) for items in liked], 5), k=1).score([asked(), asked(0)])
    assert one[2] == nothing[2]
    assert one[1] != nothing[1]


@cache
def compared(*seeds: int) -> ColdUsersReport:
    settings: dict[str, dict[str, Any]] = {
        CONDITIONAL: {"prior": 5.0},
        "ease": {"l2": 100.0},
        "blend": {"parts": {CONDITIONAL: {"prior": 5.0}, "popularity": {}}},
    }
    return compare_cold_users(arrivals(), ColdUsersRequest((CONDITIONAL, "ease", "blend"), seeds, settings))


def row_of(report: ColdUsersReport, model: str) -> ColdUsersRow:
    return next(row for row in report.rows if row.model == model)


def test_curves_rise_above_popularity_with_the_first_event() -> None:
    report = compared(0)
    assert [row.model for row in report.rows] == [POPULAR, CONDITIONAL, "ease", "blend"]
    assert report.users == len(newcomer_splits(arrivals(), CUT, AFTER)[0].holdout)
    assert 0 < report.validated < report.users
    for row in report.rows[1:]:
        assert list(row.ahead) == list(AFTER)
        assert all(row.ahead[k].difference.low > 0 for k in AFTER if k > 0)
        assert all(row.ahead[k].p < 0.01 for k in AFTER if k > 0)
    assert report.preferred.model != POPULAR
    assert report.rows[0].ahead == {}


def test_who_is_not_known_yet_is_served_what_is_popular() -> None:
    report = compared(0)
    popular = row_of(report, POPULAR).figures[0]
    for row in report.rows:
        np.testing.assert_array_equal(row.figures[0], popular)


def test_weights_of_a_blend_are_of_newcomers() -> None:
    config = row_of(compared(0), "blend").config
    assert config["weights"][CONDITIONAL][0] > 0


def test_seeds_are_averaged_user_by_user() -> None:
    one, both = (row_of(compared(*seeds), "ease") for seeds in ((0,), (0, 1)))
    for k in AFTER:
        np.testing.assert_allclose(one.figures[k], both.figures[k])


def test_unknown_models_are_refused_before_any_is_trained() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        compare_cold_users(arrivals(), ColdUsersRequest(("nobody",)))


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_curves_are_drawn(tmp_path: Path, suffix: str, begins: bytes) -> None:
    report = compared(0)
    curves = {row.model: row.intervals for row in report.rows}
    best = report.preferred
    ahead = {best.model: {k: test.difference for k, test in best.ahead.items()}}
    path = tmp_path / f"curves.{suffix}"
    save_curves(path, WATCHED, curves, ahead, baseline=POPULAR, main=best.model)
    assert path.read_bytes().startswith(begins)
    if suffix == "svg":
        assert all(model in path.read_text("utf-8") for model in curves)
