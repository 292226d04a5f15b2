"""The second stage: what a blend puts first, in an order that trees have learned."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from zhiyin.app.registry import make_model
from zhiyin.app.selection import weighing_split
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Before, Run
from zhiyin.models.ranker import Ranker
from zhiyin.testing.model_conformance import CHECKS, PERSONAL_CHECKS, Case
from zhiyin.testing.synthetic import planted_groups
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


@cache
def case() -> Case:
    return Case.of(ranker, planted_groups(), RUN)


def fitted() -> Ranker:
    model = case().model
    assert isinstance(model, Ranker)
    return model


@pytest.mark.parametrize("check", [*CHECKS, *PERSONAL_CHECKS], ids=lambda check: check.__name__)
def test_model_conforms(check: Callable[[Case], None]) -> None:
    check(case())


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


def test_parameters_of_a_blend_are_refused() -> None:
    blend = make_model("blend", {"parts": PARTS})
    blend.fit(planted_groups().data, RUN)
    with pytest.raises(ArtifactError, match="train it again"):
        ranker().load_parameters(blend.parameters())
