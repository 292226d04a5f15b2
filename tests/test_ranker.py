"""The second stage: what a blend puts first, in an order that trees have learned."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from zhiyin.app.registry import make_model
from zhiyin.app.selection import weighing_split
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.exposures import Exposures
from zhiyin.core.histories import Histories
from zhiyin.core.models import Before, Run
from zhiyin.models.heads import usual_outcomes
from zhiyin.models.ranker import Ranker
from zhiyin.models.taking import appeal_when_shown
from zhiyin.testing.model_conformance import CHECKS, PERSONAL_CHECKS, Case
from zhiyin.testing.synthetic import Planted, planted_groups
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

PARTS: dict[str, dict[str, Any]] = {"ease": {}, "content": {"encoders": ["planted"]}}
SETTINGS = {"parts": PARTS, "trees": 20, "candidates": 12, "min_child_weight": 0.5, "searched": ()}


def hold_out(data: Dataset) -> Split | None:
    return weighing_split(data, seed=1, protocol="leave-one-out")


RUN = Run(PlainTrainer(), PlainStatistics(), seed=3, hold_out=hold_out)


def ranker(**settings: Any) -> Ranker:
    made = make_model("ranker", {**SETTINGS, **settings})
    assert isinstance(made, Ranker)
    return made


def served(planted: Planted, places: tuple[int, int] = (1, 2)) -> Planted:
    """Everybody is shown each item that they come to, in the second of two `places`, behind one that they ignore."""
    histories, generator = planted.data.histories, np.random.default_rng(0)
    others = generator.integers(len(planted.data.items), size=len(histories.items))
    rows, standing = np.stack([others, histories.items], 1).ravel(), np.tile(places, len(others))
    shown = Exposures(2 * histories.indptr, rows, standing, np.repeat(histories.timestamps - 1, 2))
    return replace(planted, data=replace(planted.data, exposures=shown))


def bought(planted: Planted) -> Planted:
    """The later half of each group's items is bought, the other only looked at."""
    histories = planted.data.histories
    late = np.arange(len(planted.data.items)) >= len(planted.data.items) / 2
    told = replace(histories, kinds=late[histories.items].astype(np.int64), kind_names=("click", "purchase"))
    return replace(planted, data=replace(planted.data, histories=told))


SHOPS: dict[str, tuple[Callable[[Planted], Planted], dict[str, Any]]] = {
    "alone": (lambda planted: planted, {}),
    "with-what-was-shown": (served, {}),
    "with-heads": (bought, {"worth": {"click": 1.0, "purchase": 20.0}}),
}


@cache
def case(shop: str = "alone") -> Case:
    opened, settings = SHOPS[shop]
    return Case.of(partial(ranker, **settings), opened(planted_groups()), RUN)


def fitted() -> Ranker:
    model = case().model
    assert isinstance(model, Ranker)
    return model


@pytest.mark.parametrize("shop", SHOPS)
@pytest.mark.parametrize("check", [*CHECKS, *PERSONAL_CHECKS], ids=lambda check: check.__name__)
def test_model_conforms(check: Callable[[Case], None], shop: str) -> None:
    check(case(shop))


def test_the_best_of_the_blend_stand_in_another_order() -> None:
    model, queries = fitted(), case().planted.queries
    blend = make_model("blend", {"parts": PARTS})
    blend.load_parameters({name: rows for name, rows in model.parameters().items() if not name.startswith("ranker.")})
    moved = 0
    for query, ranked, total in zip(queries, model.score(queries), blend.score(queries), strict=True):
        total[query.history.items] = ranked[query.history.items] = -np.inf
        best = np.argsort(-total, kind="stable")
        assert set(np.argsort(-ranked)[:12]) == set(best[:12])
        np.testing.assert_allclose(ranked[best[12:]], total[best[12:]])
        moved += (np.argsort(-ranked, kind="stable")[:12] != best[:12]).any()
    assert moved > len(queries) / 2


def test_without_answers_to_learn_from_it_is_the_blend() -> None:
    planted = planted_groups()
    run = replace(RUN, hold_out=lambda _: None)
    weights = {"weights": {"ease": (1.0, 0.0), "content": (0.5, 1.0)}}
    model, blend = ranker(**weights), make_model("blend", {"parts": PARTS, **weights})
    model.fit(planted.data, run)
    blend.fit(planted.data, run)
    assert not model.learned()
    assert not model.importance()
    np.testing.assert_array_equal(model.score(planted.queries), blend.score(planted.queries))


def test_what_was_learned_is_kept_when_more_came_in() -> None:
    planted, model = planted_groups(), fitted()
    places = np.arange(len(planted.data.items))
    later = ranker(weights=dict.fromkeys(PARTS, (1.0, 1.0)))
    later.fit(planted.data, replace(RUN, before=Before(model, places, share=0.1)))
    np.testing.assert_array_equal(later.learned()["ranker.trees"], model.learned()["ranker.trees"])


def test_it_says_what_its_order_comes_from() -> None:
    shares = fitted().importance()
    assert {"ahead", "popularity", "length of the history", "ahead by ease", "place by content"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("places", [(1, 2), (0, 0)], ids=["in-known-places", "in-unknown-places"])
def test_what_was_shown_is_learned_from(places: tuple[int, int]) -> None:
    planted = served(planted_groups(), places)
    model, blind = ranker(), ranker()
    model.fit(planted.data, RUN)
    blind.fit(replace(planted.data, exposures=None), RUN)
    shares = model.importance()
    assert shares["taken when shown"] > 0
    assert shares["place in a list that was shown"] > 0
    assert not {"taken when shown", "place in a list that was shown"} & set(blind.importance())
    asked = [model.score([query])[0] != blind.score([query])[0] for query in planted.queries]
    assert np.mean([moved.any() for moved in asked]) > 0.5


@pytest.mark.parametrize(("before", "now"), [*permutations(("alone", "with-what-was-shown"))])
def test_trees_go_on_where_it_is_known_no_more_or_only_now_what_was_shown(before: str, now: str) -> None:
    model, planted = case(before).model, case(now).planted
    assert isinstance(model, Ranker)
    later = ranker(weights=dict.fromkeys(PARTS, (1.0, 1.0)))
    later.take(model.learned())
    later.fit(planted.data, RUN)
    assert np.isfinite(later.score(planted.queries)).all()
    again = ranker()
    again.load_parameters(later.parameters())
    np.testing.assert_array_equal(again.score(planted.queries), later.score(planted.queries))


def test_what_is_worth_more_stands_in_front() -> None:
    planted = case("with-heads").planted
    bought_of_first = {}
    for shop in ("alone", "with-heads"):
        scores = case(shop).model.score(planted.queries)
        for row, query in enumerate(planted.queries):
            scores[row, query.history.items] = -np.inf
        bought_of_first[shop] = np.mean(scores.argmax(axis=1) >= scores.shape[1] / 2)
    assert bought_of_first["with-heads"] > bought_of_first["alone"] + 0.2


def test_a_ranker_that_is_told_what_is_worth_more_is_taught_anew() -> None:
    data = case("with-heads").planted.data
    model = ranker(worth={"purchase": 1.0})
    model.fit(data, replace(RUN, before=Before(case("alone").model, np.arange(len(data.items)), share=0.1)))
    assert "ranker.head.purchase" in model.learned()


def test_where_the_same_comes_of_everything_the_order_is_what_is_taken() -> None:
    planted = planted_groups()
    kinds = np.zeros(len(planted.data.histories.items), np.int64)
    told = replace(planted.data.histories, kinds=kinds, kind_names=("purchase",))
    model = ranker(worth={"purchase": -1.0})
    model.fit(replace(planted.data, histories=told), RUN)
    assert set(model.learned()) == {"ranker.trees"}
    again = ranker(worth={"purchase": -1.0})
    again.load_parameters(model.parameters())
    for each in (model, again):
        np.testing.assert_array_equal(each.score(planted.queries), fitted().score(planted.queries))


def test_heads_of_what_never_happens_are_refused() -> None:
    with pytest.raises(InputError, match="lease; the data has events of click, purchase"):
        ranker(worth={"lease": 1.0}).fit(bought(planted_groups()).data, RUN)


def test_a_rating_is_foretold_between_the_ends_of_the_scale() -> None:
    planted = planted_groups()
    histories = planted.data.histories
    kinds = np.where(np.isnan(histories.ratings), 0, 1)
    told = replace(planted.data, histories=replace(histories, kinds=kinds, kind_names=("click", "rating")))
    model = ranker(worth={"rating": 1.0})
    model.fit(told, RUN)
    assert set(model.learned()) == {"ranker.trees", "ranker.head.rating"}
    usual = usual_outcomes(told, ("rating",))
    assert 0 < usual.min() < usual.max() < 1


def test_an_item_is_taken_as_readily_as_its_places_let_expect() -> None:
    """Half of the people are shown 0 and 1, and take one of them; the others 2 and 3, and take 2, but 3 days later."""
    n, day = 40, 86_400_000
    first = np.arange(n) < n // 2
    shown = np.stack([np.where(first, 0, 2), np.where(first, 1, 3), np.full(n, 4)], 1)
    times = np.tile([day, day, 9 * day], n)
    exposures = Exposures(3 * np.arange(n + 1), shown.ravel(), np.tile([1, 2, 1], n), times)
    taken = np.stack([np.where(first, np.arange(n) % 2, 2), np.where(first, 5, 3)], 1)
    moments = np.tile([day + 1, 4 * day], n)
    nothing, ones = np.full(2 * n, np.nan, np.float32), np.ones(2 * n, np.float32)
    histories = Histories(2 * np.arange(n + 1), taken.ravel(), ones, nothing, moments)
    appeal = appeal_when_shown(exposures, histories, n_items=6)
    assert appeal[0] < 0 < appeal[1], "taken alike, but 0 stood in front"
    assert appeal[3] < 0 < appeal[2], "what is taken days later was not taken from the list"
    assert appeal[4] == appeal[5] == 0, "shown when nobody was there any more, and never shown"


def test_parameters_of_a_blend_are_refused() -> None:
    blend = make_model("blend", {"parts": PARTS})
    blend.fit(planted_groups().data, RUN)
    with pytest.raises(ArtifactError, match="train it again"):
        ranker().load_parameters(blend.parameters())
