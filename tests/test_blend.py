"""Several models as one: what each weighs, for known items and for new ones."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection, weighing_split
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.models import InductiveModel, Run
from zhiyin.dataset.splits import cold_items
from zhiyin.models.weighing import Answers, weighed
from zhiyin.testing.model_conformance import CHECKS, Case, check_finds_the_pattern
from zhiyin.testing.synthetic import planted_groups

SMALL = {"attentive": {"dim": 8, "epochs": 8, "length": 12, "learning_rate": 0.01}, "content": {}}
RUN = Selection(seed=3).run()


def blend(**settings: Any) -> Any:
    return make_model("blend", {"parts": SMALL, **settings})


@cache
def fitted() -> Case:
    return Case.of(blend, planted_groups(), RUN)


@pytest.mark.parametrize("check", [*CHECKS, check_finds_the_pattern], ids=lambda check: check.__name__)
def test_conforms(check: Any) -> None:
    check(fitted())


def answers(weights: list[float], new_weights: list[float], level: float, n: int = 4_000) -> Answers:
    """Answers that a softmax over 100 known and 50 new items draws, of which all are drawn to stand beside them."""
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((n, 150, 2))
    logits = np.concatenate(
        [scores[:, :100] @ np.array(weights), scores[:, 100:] @ np.array(new_weights) + level], axis=1
    )
    answer = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    rows = np.arange(n)
    beside = [scores[rows[:, None], generator.integers(low, high, (n, 200))] for low, high in ((0, 100), (100, 150))]
    return Answers(answer >= 100, scores[rows, answer], (beside[0], beside[1]), (100, 50))


def test_weights_are_those_that_drew_the_answers() -> None:
    found = weighed(answers([1.0, 0.3], [0.0, 1.5], level=-0.5), np.array([True, True]))
    np.testing.assert_allclose(found.weights, [[1.0, 0.3], [0.0, 1.5]], atol=0.15)
    assert found.level == pytest.approx(-0.5, abs=0.15)


def test_model_that_misleads_or_cannot_score_new_items_weighs_nothing() -> None:
    found = weighed(answers([1.0, -0.5], [1.0, 1.0], level=0.0), np.array([True, False]))
    assert found.weights[0, 1] == 0
    assert found.weights[1, 1] == 0
    assert found.weights[1, 0] > 0.5


def test_answers_of_one_kind_leave_the_other_at_one() -> None:
    all_known = answers([1.0, 0.3], [0.0, 0.0], level=-50.0)
    found = weighed(all_known, np.array([True, True]))
    np.testing.assert_array_equal(found.weights[1], 1)
    assert found.level == 0


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
    np.testing.assert_allclose(model.score(queries), sum(part.score(queries) for part in parts.values()))


def test_exposure_lifts_new_items_alone() -> None:
    data = planted_groups().data
    newest = np.arange(28, 32)
    data = replace(data, histories=data.histories.keep(~np.isin(data.histories.items, newest)))
    plain, lifted = blend(), blend(exposure=3.0)
    for model in (plain, lifted):
        model.fit(data, RUN)
    queries = [data.query(user) for user in range(10)]
    before, after = plain.score(queries), lifted.score(queries)
    np.testing.assert_allclose(after[:, newest], before[:, newest] + np.log(3.0))
    np.testing.assert_allclose(after[:, :28], before[:, :28])


def test_part_that_knows_no_new_items_is_silent_about_them() -> None:
    data = planted_groups().data
    model = make_model("blend", {"parts": {"ease": {}, "content": {}}})
    model.fit(data, RUN)
    assert isinstance(model, InductiveModel)
    rows = np.array([0, 1], np.int64)
    arrived = data.catalog.take(rows), {name: vectors[rows] for name, vectors in data.content.items()}
    queries = [data.query(user) for user in range(10)]
    content = make_model("content")
    content.fit(data, RUN)
    scores = model.extended(*arrived).score(queries)[:, len(data.items) :]
    expected = content.score(queries, rows)
    ratio = scores[:, 0] - scores[:, 1], expected[:, 0] - expected[:, 1]
    np.testing.assert_allclose(np.corrcoef(*ratio)[0, 1], 1)
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
