"""Several models as one: what each weighs, for known items and for new ones."""

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection, weighing_split
from zhiyin.core.dataset import Dataset, Holdout, Query, Split
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import Histories, History
from zhiyin.core.models import InductiveModel, Run, TunableModel
from zhiyin.dataset.splits import cold_items, hold_out_items, last_share_split, leave_one_out_split
from zhiyin.models.blend import Blend
from zhiyin.models.standing import FORMS, RANKED, K, standings
from zhiyin.models.weighing import Asked, asked_of, new_share, weighed
from zhiyin.testing.model_conformance import CHECKS, PERSONAL_CHECKS, Case
from zhiyin.testing.synthetic import planted_groups

SMALL = {"attentive": {"dim": 8, "epochs": 8, "length": 12, "learning_rate": 0.01}, "content": {}}
RUN = Selection(seed=3).run()


def blend(**settings: Any) -> Any:
    return make_model("blend", {"parts": SMALL, **settings})


@cache
def fitted() -> Case:
    return Case.of(blend, planted_groups(), RUN)


@pytest.mark.parametrize("check", [*CHECKS, *PERSONAL_CHECKS], ids=lambda check: check.__name__)
def test_conforms(check: Any) -> None:
    check(fitted())


def in_forms(models: Any, known: Any) -> Any:
    """(models, forms, users, items) of their scores."""
    return np.stack([[standings(each, known, form) for form in FORMS] for each in models]).astype(np.float32)


def asked(*models: float, cold: tuple[float, ...] = (), n: int = 300) -> Asked:
    """People who went on to one of 100 known and 50 new items, which a model knows as well as its number says."""
    generator = np.random.default_rng(0)
    answer = generator.integers(0, 150, n)
    answers = answer[:, None] == np.arange(150)
    new = np.arange(150) >= 100
    quality = np.where(new[None, :], np.array(cold or models)[:, None], np.array(models)[:, None])
    scores = generator.standard_normal((len(models), n, 150)) + quality[:, None] * answers
    return Asked(in_forms(scores, ~new), np.tile(new, (n, 1)), answers, np.zeros_like(answers))


def test_better_model_weighs_more_and_a_useless_one_nothing() -> None:
    found = weighed(asked(2.5, 1.5, 0.0), np.ones(3, np.bool_), 0.1).weights
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for good, fair, useless in found:
        assert good > fair > 0
        assert useless == 0


def test_models_of_which_none_is_surely_better_share_alike() -> None:
    known, _ = weighed(asked(2.0, 2.0, 0.0, n=200), np.ones(3, np.bool_), 0.1).weights
    np.testing.assert_array_equal(known, [0.5, 0.5, 0])


def test_new_items_are_weighed_by_those_that_know_them() -> None:
    known, new = weighed(asked(2.5, 0.0, cold=(0.0, 2.5)), np.ones(2, np.bool_), 0.1).weights
    np.testing.assert_array_equal(known, [1, 0])
    np.testing.assert_array_equal(new, [0, 1])
    _, silent = weighed(asked(2.5, 2.5), np.array([True, False]), 0.1).weights
    np.testing.assert_array_equal(silent, [1, 0])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_new_items_have_the_share_of_places_that_is_due_to_them(share: float) -> None:
    people = asked(2.0, 1.0)
    found = weighed(people, np.ones(2, np.bool_), share)
    kind = people.new[0].astype(int)
    formed = people.in_forms(found.forms).standings[:, 0]
    scores = np.einsum("mui,im->ui", formed, found.weights.T[:, kind].T) + found.level * people.new
    places = np.argsort(-scores, axis=1)[:, :10]
    assert people.new[0][places].mean() == pytest.approx(share, abs=0.005)


def test_a_model_that_helps_behind_the_first_ten_is_added() -> None:
    """One model finds a tenth of the answers and no others, another one places all of them at about fifty."""
    generator = np.random.default_rng(0)
    answers = np.arange(500)[None] == generator.integers(0, 500, 600)[:, None]
    noise = generator.standard_normal((2, 600, 500))
    sure = np.where(answers & (np.arange(600) < 60)[:, None], 9.0, noise[0])
    vague = noise[1] + 1.3 * answers
    found = in_forms((sure, vague), np.ones(500, np.bool_))
    people = Asked(found, np.zeros_like(answers), answers, np.zeros_like(answers))
    assert (weighed(people, np.ones(2, np.bool_), 0.0).weights[0] > 0).all()


class Told:
    """Says what it was told of each user."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def score(self, queries: Any, candidates: Any = None) -> Any:
        return self.scores[[query.now for query in queries]]


def test_items_that_no_model_puts_in_front_change_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    users, items = 400, 1_000
    targets = generator.integers(0, items, users)
    seen = [generator.choice(items, 20, replace=False) for _ in range(users)]
    holdout = Holdout(
        "held",
        np.arange(users),
        tuple(Query(History.of_items([]), row) for row in range(users)),
        tuple(targets[:, None]),
        tuple(np.full(1, np.nan) for _ in range(users)),
        tuple(np.setdiff1d(mine, target) for mine, target in zip(seen, targets, strict=True)),
    )
    right = targets[:, None] == np.arange(items)
    models: Any = [Told(generator.standard_normal((users, items)) + good * right) for good in (3.0, 2.5, 0.5)]
    known = np.arange(items) < 900
    found = []
    for front in (200, items):
        monkeypatch.setattr("zhiyin.models.weighing.IN_FRONT", front)
        told = asked_of(models, holdout, known, generator)
        found.append((told.answers.shape[1], weighed(told, np.ones(3, np.bool_), 0.1)))
    (few, by_few), (every, by_all) = found
    assert few < every == items
    np.testing.assert_array_equal(by_few.weights, by_all.weights)
    assert by_few.level == pytest.approx(by_all.level, abs=1e-3)


def test_a_kind_that_nobody_went_on_to_is_weighed_alike() -> None:
    people = asked(2.0, 1.0)
    known = replace(people, answers=people.answers & ~people.new)
    np.testing.assert_array_equal(weighed(known, np.ones(2, np.bool_), 0.1).weights[1], 0.5)


def test_what_is_due_to_new_items_is_what_late_events_went_to_them() -> None:
    items = np.array([0, 0, 1, 1, 0, 1, 0, 1, 0, 2, 2, 0, 3, 1], np.int64)
    days = np.append(np.arange(13), 12)
    weights = np.append(np.ones(13), -1.0)
    histories = Histories(np.array([0, 9, 14]), items, weights, np.full(14, np.nan), days)
    assert new_share(histories) == pytest.approx(1 / 3)
    assert new_share(replace(histories, timestamps=np.full(14, MISSING_TIME))) is None


@given(hnp.arrays(np.float64, 12, elements=st.integers(-50, 50)), st.integers(1, 11), st.sampled_from(FORMS))
def test_standings_keep_the_order_of_known_and_of_new_items(scores: Any, known: int, form: str) -> None:
    met = np.arange(12) < known
    found = standings(scores[None], met, form)[0]
    varied = len(set(scores[met])) > 1
    assert found[met].std() == pytest.approx(1.0 if varied else 0.0)
    ahead = ~met & (scores > scores[met].max()) & varied
    assert (found[ahead] > found[met].max()).all()
    for kind in (met, ~met):
        for one, other in itertools.product(np.flatnonzero(kind), repeat=2):
            if scores[one] == scores[other]:
                assert found[one] == found[other]
            elif scores[one] > scores[other]:
                assert found[one] > found[other] or not varied
    np.testing.assert_array_equal(standings(scores[None, :known], met[:known], form)[0], found[:known])


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_ranks_of_a_large_catalogue_are_exact_in_front_and_in_order_behind(step: float) -> None:
    """step: to which scores are rounded, so that many are equal."""
    scores = np.random.default_rng(0).standard_normal(5_000)
    scores = np.round(scores / step) * step if step else scores
    found = standings(scores[None], np.ones(5_000, np.bool_), "ranks")[0]
    order = np.argsort(-scores, kind="stable")
    assert (np.diff(found[order]) <= 0).all()
    assert len(np.unique(found)) == len(np.unique(scores))
    front = order[:RANKED]
    ranks = np.array([(scores > score).sum() for score in scores[front]])
    np.testing.assert_allclose(found[front] / found.max(), K / (K + ranks))


def test_new_item_stands_above_all_others_where_it_is_ahead_of_the_best() -> None:
    scores = np.array([[3.0, 2.0, 1.0, 4.0, 10.0, 2.5]])
    known = np.array([True, True, True, False, False, False])
    for form in FORMS:
        found = standings(scores, known, form)[0]
        assert found[4] > found[3] > found[0] > found[5]
        np.testing.assert_allclose(found[3:] - found[0], (scores[0, 3:] - 3.0) / scores[0, :3].std())
    ranks = standings(scores, known, "ranks")[0, :3]
    np.testing.assert_allclose(ranks / ranks[0], [1, 20 / 21, 20 / 22])


def test_the_form_is_the_one_that_answers_best() -> None:
    """A model that is very sure where it is right, beside one that is as right but never sure, in tied votes."""
    generator = np.random.default_rng(0)
    answers = np.arange(300)[None] == generator.integers(0, 300, 800)[:, None]
    right = answers & (generator.random(800) < 0.5)[:, None]
    sure = generator.standard_normal((800, 300)) + 40.0 * right
    vague = generator.standard_normal((800, 300)) + 2.5 * answers
    people = Asked(
        in_forms((sure, vague), np.ones(300, np.bool_)), np.zeros_like(answers), answers, np.zeros_like(answers)
    )
    found = weighed(people, np.ones(2, np.bool_), 0.0)
    assert FORMS[found.forms[0]] == "deviations"
    assert (found.weights[0] > 0).all()


def test_new_items_have_the_places_that_they_have_among_the_answers() -> None:
    data = planted_groups(200).data
    generator = np.random.default_rng(0)
    told = {name: rows + 0.1 * generator.standard_normal(rows.shape) for name, rows in data.content.items()}
    held = hold_out_items(last_share_split(replace(data, content=told), 0.2), np.arange(0, 32, 4))
    parts = {name: make_model(name) for name in ("content", "ease")}
    for part in parts.values():
        part.fit(held.train, RUN)
    model = Blend.weighed_on(held, {name: part.config.model_dump() for name, part in parts.items()}, parts, 0)
    new = np.bincount(held.train.histories.items, minlength=32) == 0
    scores = model.score(held.holdout.queries)
    for row, seen in zip(scores, held.holdout.seen, strict=True):
        row[seen] = -np.inf
    places = new[np.argsort(-scores, axis=1)[:, :10]].mean()
    assert places == pytest.approx(new[np.concatenate(held.holdout.targets)].mean(), abs=0.02)


def test_settled_weights_hold_nothing_out_again() -> None:
    data = planted_groups().data
    model = blend()
    report = model.fit(data, RUN)
    again = blend(**report.settled)

    def refused(data: Dataset) -> Split:
        raise AssertionError("weights were known already")

    again.fit(data, replace(RUN, hold_out=refused))
    queries = [data.query(user) for user in range(10)]
    np.testing.assert_allclose(again.score(queries), model.score(queries))


def test_parts_weigh_alike_where_nothing_is_held_out() -> None:
    data = planted_groups().data
    model = blend()
    model.fit(data, Run(RUN.trainer, RUN.statistics))
    queries = [data.query(user) for user in range(10)]
    parts = {name: make_model(name, settings) for name, settings in SMALL.items()}
    for part in parts.values():
        part.fit(data, Run(RUN.trainer, RUN.statistics))
    known = np.bincount(data.histories.items, data.histories.weights > 0, minlength=len(data.items)) > 0
    expected = sum(standings(part.score(queries), known, FORMS[0]) for part in parts.values())
    np.testing.assert_allclose(model.score(queries), expected)


def test_a_model_may_stand_there_twice() -> None:
    data = planted_groups().data
    twice = {"ease": {"l2": 1.0}, "ease:strict": {"l2": 500.0}}
    model: Any = make_model("blend", {"parts": twice, "weights": {"ease": (1.0, 0.0), "ease:strict": (0.5, 0.0)}})
    model.fit(data, RUN)
    first, second = model.parts.values()
    assert (first.config.l2, second.config.l2) == (1.0, 500.0)
    again: Any = make_model("blend", model.config.model_dump())
    again.load_parameters(model.parameters())
    queries = last_share_split(data, 0.2).holdout.queries[:5]
    np.testing.assert_array_equal(again.score(queries), model.score(queries))
    with pytest.raises(ConfigError, match=r"parts.*pattern"):
        make_model("blend", {"parts": {"ease:a.b": {}}})


def test_parts_searched_are_settled_on_what_is_held_out() -> None:
    data = planted_groups().data
    settled = blend(searched=("content",)).fit(data, RUN).settled["parts"]["content"]
    content = make_model("content")
    assert isinstance(content, TunableModel)
    alternatives = [make_model("content", each).config for each in content.search]
    assert make_model("content", settled).config in alternatives
    given = blend(parts={**SMALL, "content": {"last": 7}}).fit(data, RUN).settled["parts"]["content"]
    assert given["last"] == 7


def test_part_that_knows_no_new_items_is_silent_about_them() -> None:
    data = planted_groups().data
    model: Any = make_model("blend", {"parts": {"ease": {}, "content": {}}})
    model.fit(data, RUN)
    rows = np.array([0, 1], np.int64)
    arrived = data.catalog.take(rows), {name: vectors[rows] for name, vectors in data.content.items()}
    queries = [data.query(user) for user in range(10)]
    content: Any = make_model("content")
    content.fit(data, RUN)
    scores = model.extended(*arrived).score(queries)[:, len(data.items) :]
    expected = content.score(queries, rows)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    told = model.extended(*arrived).contributions(queries[0], np.array([len(data.items)])).parts
    np.testing.assert_array_equal(told > 0, content.contributions(queries[0], rows[:1]).parts > 0)
    alone = make_model("blend", {"parts": {"ease": {}}})
    alone.fit(data, RUN)
    assert isinstance(alone, InductiveModel)
    with pytest.raises(ConfigError, match="no part reads content"):
        alone.extended(*arrived)


def test_encoders_are_those_of_the_blend_where_a_part_names_none() -> None:
    parts = {"attentive": {"encoders": ("own",)}, "content": {}, "ease": {}}
    model: Any = make_model("blend", {"parts": parts, "encoders": ("shared",)})
    assert model.parts["attentive"].config.encoders == ("own",)
    assert model.parts["content"].config.encoders == ("shared",)


def test_parameters_of_other_parts_are_refused() -> None:
    parameters = fitted().model.parameters()
    with pytest.raises(ArtifactError, match=r"not of content, ease; train it again"):
        make_model("blend", {"parts": {"content": {}, "ease": {}}}).load_parameters(parameters)
    with pytest.raises(ArtifactError, match="not fitted yet"):
        blend().score(planted_groups().queries[:1])


def test_where_few_go_on_after_a_time_everybody_is_asked_about_their_last_events() -> None:
    data = planted_groups().data
    one_after_another = np.arange(len(data.histories.items))
    data = replace(data, histories=replace(data.histories, timestamps=one_after_another))
    split = weighing_split(data, seed=1)
    assert split is not None
    last = last_share_split(data, 0.2).holdout
    np.testing.assert_array_equal(split.holdout.users, last.users)


def test_for_leave_one_out_everybody_is_asked_about_their_last_event() -> None:
    data = planted_groups().data
    split = weighing_split(data, seed=1, protocol="leave-one-out")
    assert split is not None
    last = leave_one_out_split(data).holdout
    np.testing.assert_array_equal(split.holdout.users, last.users)
    assert all(map(np.array_equal, split.holdout.targets, last.targets))


def test_for_the_next_event_few_later_ones_are_asked_about_as_everybodys_last() -> None:
    data = planted_groups().data
    one_after_another = np.arange(len(data.histories.items))
    data = replace(data, histories=replace(data.histories, timestamps=one_after_another))
    split = weighing_split(data, seed=1, protocol="next")
    assert split is not None
    np.testing.assert_array_equal(split.holdout.users, leave_one_out_split(data).holdout.users)


def test_weights_are_found_on_later_events_with_new_items_among_them() -> None:
    data = planted_groups().data
    split = weighing_split(data, seed=1)
    assert split is not None
    assert len(cold_items(split)) > 0
    assert len(split.train.histories.items) < len(data.histories.items)
    timeless = replace(
        data, histories=replace(data.histories, timestamps=np.full_like(data.histories.timestamps, MISSING_TIME))
    )
    assert weighing_split(timeless, seed=1) is not None
    lonely = replace(data, histories=data.histories.keep(data.histories.places == 0))
    assert weighing_split(lonely, seed=1) is None
