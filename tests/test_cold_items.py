from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from doubles import ByCount, NoSettings

from zhiyin.app.cold import COLD, GENERALISED, METRICS, REFERENCE, WARM, ColdReport, ColdRequest, ColdRow, compare_cold
from zhiyin.app.selection import WATCHED, candidates
from zhiyin.core.arrays import IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Holdout, Query
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.histories import History
from zhiyin.core.models import Run
from zhiyin.core.terms import terms
from zhiyin.dataset.splits import cold_items, hold_out_items, time_split
from zhiyin.evaluation.ranking import NO_ITEM, View, evaluate_ranking, evaluate_views
from zhiyin.models.text_neighbours import TextNeighbours
from zhiyin.testing.synthetic import DAY, START, dataset_of
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

WORDS = ("安静的科幻", "slow romance", "loud comedy", "战争纪录片")
SHARED = tuple("abcdefghij")
"""What titles of all groups have, so that no two score alike."""

RUN = Run(PlainTrainer(), PlainStatistics())


def history(items: list[int], days: list[float]) -> History:
    plain = History.of_items(items)
    return replace(plain, timestamps=np.array([START + int(day * DAY) for day in days], np.int64))


@cache
def tastes(n_users: int = 120, n_items: int = 240, days: int = 20) -> tuple[Dataset, IntVector]:
    """People who like one of four groups and meet an item of it every day; items come out in the order of their rows.

    Title and vector of an item tell its group, and nothing else does before somebody has met it.
    """
    generator = np.random.default_rng(0)
    groups = np.arange(n_items) % len(WORDS)
    appears = np.arange(n_items) * (days + 4) / n_items - 4
    histories = []
    for user in range(n_users):
        met: list[int] = []
        for day in range(days):
            there = (groups == user % len(WORDS)) & (appears <= day) & ~np.isin(np.arange(n_items), met)
            latest = np.flatnonzero(there)[-6:]
            met.append(int(generator.choice(latest)))
        histories.append(history(met, [day + user / n_users for day in range(days)]))
    vectors = np.eye(len(WORDS))[groups] + 0.1 * generator.standard_normal((n_items, len(WORDS)))
    data = dataset_of(histories, n_items, content={"planted": vectors.astype(np.float32)})
    titles = [" ".join([WORDS[group], *generator.choice(SHARED, 3, replace=False)]) for group in groups]
    return replace(data, catalog=Catalog.build(item_id=list(data.items.ids), title=titles)), groups


def titled(*titles: str | None) -> Dataset:
    """One person who liked the first item."""
    data = dataset_of([history([0], [0])], len(titles))
    return replace(data, catalog=Catalog.build(item_id=list(data.items.ids), title=titles))


def fitted(data: Dataset, **settings: Any) -> Any:
    model = TextNeighbours(TextNeighbours.Config(**settings))
    model.fit(data, RUN)
    return model


def test_cold_items_are_described_and_unknown_to_training() -> None:
    data = dataset_of([history([0, 1, 2], [0, 1, 9]), history([1, 0, 3], [0, 1, 9])], 6)
    titles = ["a", "b", "c", None, "e", None]
    data = replace(data, catalog=Catalog.build(item_id=list(data.items.ids), title=titles))
    split = time_split(data, 0.8)
    assert cold_items(split).tolist() == [2, 4]
    vectors = np.zeros((6, 2), np.float32)
    vectors[3] = 1
    told = replace(split, train=replace(split.train, content={"some": vectors}))
    assert cold_items(told).tolist() == [2, 3, 4]


def test_items_held_out_are_asked_about_and_named_nowhere_else() -> None:
    data, _ = tastes()
    split = time_split(data, 0.8)
    held = np.array([0, 7, 90, 100], np.int64)
    apart = hold_out_items(split, held)
    assert not np.isin(apart.train.histories.items, held).any()
    assert not any(np.isin(query.history.items, held).any() for query in apart.holdout.queries)
    assert np.isin(split.train.histories.items, held).any()
    kept = ~np.isin(split.train.histories.items, held)
    np.testing.assert_array_equal(apart.train.histories.items, split.train.histories.items[kept])
    assert apart.holdout.targets is split.holdout.targets
    assert apart.holdout.seen is split.holdout.seen
    assert apart.train.fingerprint != split.train.fingerprint
    assert set(held.tolist()) <= set(cold_items(apart).tolist())


def asked(*users: tuple[list[int], list[int]]) -> Holdout:
    """Each user's targets and what they have seen."""
    nothing = Query(History.of_items([]), START)
    targets, seen = ([np.array(rows, np.int64) for rows in column] for column in zip(*users, strict=True))
    ratings = tuple(np.full(len(rows), np.nan) for rows in targets)
    return Holdout("test", np.arange(len(users)), (nothing,) * len(users), tuple(targets), ratings, tuple(seen))


def test_views_ask_for_some_answers_among_some_items() -> None:
    model = ByCount(NoSettings(), tuple(range(6)))
    cold, warm = np.array([2, 0, 1], np.int64), np.array([3, 4, 5], np.int64)
    views = {"cold": View(cold, cold), "generalised": View(cold), "warm": View(warm), "one": View(None, cold[:1])}
    found = evaluate_views(model, asked(([1, 4], [5]), ([0], [])), 6, views, ks=(1, 2, 4))
    figures = {name: result.metrics for name, result in found.items()}
    np.testing.assert_allclose(figures["cold"]["recall@2"], [1, 0])
    np.testing.assert_allclose(figures["cold"]["ndcg@2"], [1 / np.log2(3), 0])
    np.testing.assert_allclose(figures["cold"]["gauc"], [0.5, 0])
    np.testing.assert_allclose(figures["generalised"]["recall@2"], [0, 0])
    np.testing.assert_allclose(figures["generalised"]["recall@4"], [1, 0])
    np.testing.assert_allclose(figures["warm"]["recall@1"], [1, np.nan])
    assert np.isnan(figures["one"]["recall@1"]).all()
    assert found["cold"].lists.tolist() == [[2, 1, 0, NO_ITEM]] * 2
    assert found["warm"].lists.tolist() == [[4, 3, 2, 1], [5, 4, 3, 2]]
    assert found["one"].lists.tolist() == [[2, NO_ITEM, NO_ITEM, NO_ITEM]] * 2


def test_first_and_last_answers_are_those_of_the_view() -> None:
    model = ByCount(NoSettings(), tuple(range(6)))
    found = evaluate_views(model, asked(([5, 1, 4, 0], [])), 6, {"some": View(np.array([0, 1, 4]))}, ks=(2,))["some"]
    assert (found.first["recall@2"][0], found.last["recall@2"][0]) == (0, 0)
    assert found.metrics["recall@2"][0] == pytest.approx(1 / 3)


def test_view_of_unknown_rows_is_refused() -> None:
    model = ByCount(NoSettings(), tuple(range(6)))
    with pytest.raises(InputError, match=r"rows of a view .* outside the 6 items"):
        evaluate_views(model, asked(([1], [])), 6, {"far": View(np.array([6]))})


def test_terms_are_words_and_of_chinese_characters_and_pairs() -> None:
    assert terms("The QUIET\u3000sea_side, 2nd", singles=True) == ["the", "quiet", "sea", "side", "2nd"]
    assert terms("安静的film", singles=True) == ["安", "静", "的", "安静", "静的", "film"]
    assert terms("Amélie's", singles=True) == terms("AME\u0301LIE'S", singles=True)


def test_rare_words_in_common_weigh_more_than_frequent_ones() -> None:
    data = titled("red lipstick", "red shampoo", "lipstick brush", "red comb", None, "red soap")
    scores = fitted(data).score([data.query(0)])[0]
    assert np.argmax(scores) == 0
    assert scores[2] > scores[1] > 0
    assert scores[4] == 0


def test_term_of_every_item_says_nothing_without_smoothing() -> None:
    data = titled("film war", "film peace", "film")
    assert fitted(data).score([data.query(0)])[0, 1] > 0
    np.testing.assert_allclose(fitted(data, smooth=0).score([data.query(0)]), [[1, 0, 0]])


def test_text_neighbours_score_what_nobody_has_touched() -> None:
    data, groups = tastes()
    split = time_split(data, 0.8)
    cold = cold_items(split)
    assert len(cold) >= 10
    model = fitted(split.train)
    for user in range(8):
        scores = model.score([split.train.query(user)], cold)[0]
        own = groups[cold] == user % len(WORDS)
        assert scores[own].min() > scores[~own].max()


def test_text_neighbours_read_the_latest_events() -> None:
    data = titled("alpha one", "beta two", "alpha three", "beta four")
    query = Query(history([0, 1], [0, 1]), START)
    (old, new), (late_old, late_new) = (
        fitted(data, last=last).score([query], np.array([2, 3], np.int64))[0] for last in (2, 1)
    )
    assert old == pytest.approx(new)
    assert late_new > late_old == 0


def test_sharp_attention_judges_an_item_by_what_it_goes_with() -> None:
    data = titled("alpha", "beta", "alpha x", "alpha beta")
    query = Query(history([0, 1], [0, 1]), START)
    mean, sharp = (fitted(data, sharpness=value).score([query])[0] for value in (0.0, 50.0))
    assert mean[3] > mean[2]
    assert sharp[2] > 1.5 * mean[2]
    parts = fitted(data, sharpness=50.0).contributions(query, np.array([2], np.int64)).parts[0]
    assert parts[0] > 0 == pytest.approx(parts[1])


def test_catalogue_without_text_is_refused_and_not_tried() -> None:
    bare, told = titled(None, None), titled("a", None)
    with pytest.raises(InputError, match="no text in the catalogue"):
        fitted(bare)
    assert "text-neighbours" not in candidates(bare)
    assert "text-neighbours" in candidates(told)


@cache
def compared(protocol: str, *seeds: int) -> ColdReport:
    data, _ = tastes()
    settings = {REFERENCE: {"sharpness": 0.0, "last": 50}}
    return compare_cold(data, ColdRequest(("popularity", "content+planted"), protocol, seeds, settings))


def row_of(report: ColdReport, model: str) -> ColdRow:
    row = report.row(model)
    assert row is not None
    return row


@pytest.mark.parametrize("protocol", ["first-appearance", "random"])
def test_content_finds_new_items_and_popularity_does_not(protocol: str) -> None:
    report = compared(protocol, 0, 1)
    assert [row.model for row in report.rows] == ["popularity", "content+planted", REFERENCE, "random"]
    means = {row.model: row.intervals[COLD][WATCHED].mean for row in report.rows}
    assert min(means["content+planted"], means[REFERENCE]) > 2 * max(means["popularity"], means["random"])
    popular, content, reference, chance = report.rows
    for row in (popular, chance):
        assert row.ahead is not None
        assert row.ahead.difference.high < 0
        assert row.ahead.p < 0.01
    assert reference.ahead is None
    assert content.config["encoders"] == ["planted"]
    assert content.validation is not None
    assert chance.validation is None


def test_figures_are_of_new_items_among_new_and_all_and_of_known_ones() -> None:
    report = compared("first-appearance", 0)
    data, _ = tastes()
    split = time_split(data, 0.8)
    cold = cold_items(split)
    assert report.items == (len(cold),)
    assert report.users == len(split.holdout)
    asked = [np.isin(targets, cold) for targets in split.holdout.targets]
    row = report.rows[0]
    assert row.intervals[COLD][WATCHED].n == row.intervals[GENERALISED][WATCHED].n == sum(a.any() for a in asked)
    assert row.intervals[WARM][WATCHED].n == sum(not a.all() for a in asked)
    model = fitted(split.train, **row_of(report, REFERENCE).config)
    whole = evaluate_ranking(model, split.holdout, len(data.items), ks=(10,)).metrics
    all_cold = np.array([a.all() for a in asked])
    assert all_cold.any()
    figures = row_of(report, REFERENCE).figures[GENERALISED]
    for name in METRICS:
        np.testing.assert_allclose(figures[name][all_cold], whole[name][all_cold])


def test_other_items_are_held_out_for_each_seed_and_users_averaged() -> None:
    one, other, both = compared("random", 0), compared("random", 1), compared("random", 0, 1)
    assert both.items == one.items + other.items
    first, second, mean = (row_of(report, REFERENCE).figures[COLD][WATCHED] for report in (one, other, both))
    assert not np.allclose(first, second, equal_nan=True)
    defined = ~np.isnan(first) & ~np.isnan(second)
    np.testing.assert_allclose(mean[defined], (first + second)[defined] / 2)
    alone = np.isnan(first) & ~np.isnan(second)
    np.testing.assert_allclose(mean[alone], second[alone])


def test_settings_go_over_the_alternatives_of_a_model() -> None:
    data, _ = tastes()
    request = ColdRequest((), settings={REFERENCE: {"last": 3}})
    assert compare_cold(data, request).rows[0].config["last"] == 3


def test_gradient_model_that_reads_content_finds_new_items_as_without_it_it_does_not() -> None:
    data, _ = tastes()
    small = {"transformer": {"epochs": 10, "dim": 16}}
    report = compare_cold(data, ColdRequest(("transformer", "transformer+planted"), "random", settings=small))
    bare, reading = (row_of(report, name) for name in ("transformer", "transformer+planted"))
    assert (list(bare.config["encoders"]), list(reading.config["encoders"])) == ([], ["planted"])
    assert reading.intervals[COLD][WATCHED].low > bare.intervals[COLD][WATCHED].high


def test_what_cannot_be_compared_is_refused() -> None:
    data, _ = tastes()
    with pytest.raises(InputError, match="unknown protocol 'later'"):
        compare_cold(data, ColdRequest(("popularity",), "later"))
    with pytest.raises(ConfigError, match="encoder"):
        compare_cold(data, ColdRequest(("popularity+planted",)))
    undescribed = replace(data, content={}, catalog=Catalog.build(item_id=list(data.items.ids)))
    with pytest.raises(InputError, match="nobody is asked about a new item"):
        compare_cold(undescribed, ColdRequest(("popularity",)))
