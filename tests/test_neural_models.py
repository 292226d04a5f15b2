"""The gradient models pass the suite every model passes, and reasons add up."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.histories import History
from zhiyin.core.models import InductiveModel, Run, VectorModel
from zhiyin.testing.model_conformance import (
    CHECKS,
    PERSONAL_CHECKS,
    Case,
    check_finds_the_pattern,
    registered,
)
from zhiyin.testing.synthetic import Planted, planted_groups
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

SMALL = {
    "attentive": {"dim": 16, "epochs": 30, "length": 12, "learning_rate": 0.01},
    "attentive-ratings": {"dim": 8, "epochs": 40, "learning_rate": 0.02},
    "transformer": {"dim": 16, "epochs": 30, "length": 12, "layers": 1, "learning_rate": 0.01, "batch_users": 16},
}


@cache
def case_of(name: str) -> Case:
    kind = registered(name)
    return Case.of(
        lambda: kind(kind.Config(**SMALL[name])), planted_groups(), Run(PlainTrainer(), PlainStatistics(), seed=3)
    )


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("check", [*CHECKS, *PERSONAL_CHECKS], ids=lambda check: check.__name__)
def test_model_conforms(name: str, check: Callable[[Case], None]) -> None:
    check(case_of(name))


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_vectors_give_the_scores(name: str) -> None:
    case = case_of(name)
    model, queries = case.model, case.planted.queries[:5]
    assert isinstance(model, VectorModel)
    np.testing.assert_allclose(model.query_vectors(queries) @ model.item_vectors().T, model.score(queries))


@pytest.mark.parametrize("name", SMALL)
def test_asked_too_early_or_given_foreign_parameters(name: str) -> None:
    kind = registered(name)
    with pytest.raises(ArtifactError, match="fit it or load"):
        kind(kind.Config()).score(planted_groups().queries[:1])
    with pytest.raises(ArtifactError, match="train it again"):
        kind(kind.Config()).load_parameters({"something": np.zeros(3)})


def test_other_histories_get_other_lists() -> None:
    case = case_of("attentive")
    lists = {tuple(np.argsort(-row)[:10]) for row in case.model.score(case.planted.queries[:50])}
    assert len(lists) >= 20


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_conforms_when_it_reads_content(name: str) -> None:
    kind = registered(name)
    config = kind.Config(**SMALL[name], encoders=("planted",))
    case = Case.of(lambda: kind(config), planted_groups(), Run(PlainTrainer(), PlainStatistics(), seed=3))
    for check in (*CHECKS, *PERSONAL_CHECKS):
        check(case)


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_items_that_nobody_touched_find_their_people_by_content(name: str) -> None:
    planted = planted_groups()
    newest = np.flatnonzero(np.arange(len(planted.groups)) >= len(planted.groups) - 4)
    histories = planted.data.histories
    data = replace(planted.data, histories=histories.keep(~np.isin(histories.items, newest)))
    kind = registered(name)
    model = kind(kind.Config(**SMALL[name], encoders=("planted",)))
    model.fit(data, Run(PlainTrainer(), PlainStatistics(), seed=3))
    queries = [data.query(user) for user in range(40)]
    tastes = planted.groups[[int(query.history.items[query.history.weights > 0][0]) for query in queries]]
    scores = model.score(queries)
    assert (planted.groups[newest][scores[:, newest].argmax(axis=1)] == tastes).mean() > 0.9
    assert isinstance(model, InductiveModel)
    extended = model.extended(data.catalog.take(newest), {"planted": data.content["planted"][newest]})
    np.testing.assert_allclose(extended.score(queries)[:, len(data.items) :], scores[:, newest], atol=1e-6)
    for place, row in enumerate(newest):
        after = extended.score([Query(History.of_items([len(data.items) + place]), data.now)])[0, : len(data.items)]
        own = planted.groups == planted.groups[row]
        assert after[own].mean() > after[~own].mean()


def seen_and_heard() -> Planted:
    """Three modalities: two tell the groups, one of them in half of the items, and one is noise."""
    planted = planted_groups()
    generator = np.random.default_rng(4)
    told = planted.data.content["planted"]
    half = (np.arange(len(told)) % 2 == 0)[:, None] * told[:, ::-1]
    noise = generator.standard_normal((len(told), 6))
    noise[5:8] = 0
    content = {"planted": told, "half": half.astype(np.float32), "noise": noise.astype(np.float32)}
    return replace(planted, data=replace(planted.data, content=content))


@cache
def fused(name: str) -> Case:
    kind, run = registered(name), Run(PlainTrainer(), PlainStatistics(), seed=3)
    config = kind.Config(**SMALL[name], encoders=("planted", "half", "noise"))
    return Case.of(lambda: kind(config), seen_and_heard(), run)


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_conforms_when_it_reads_several_modalities(name: str) -> None:
    for check in (*CHECKS, check_finds_the_pattern):
        check(fused(name))


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_modality_that_an_item_lacks_has_no_share(name: str) -> None:
    case = fused(name)
    model: Any = case.model
    shares = model.modality_shares()
    lacks = np.stack([~vectors.any(axis=1) for vectors in case.planted.data.content.values()], axis=1)
    assert lacks.any()
    np.testing.assert_array_equal(shares[lacks], 0)
    assert (shares[~lacks] > 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    arrived = np.array([0, 5], np.int64)
    content = {key: vectors[arrived] for key, vectors in case.planted.data.content.items()}
    extended = model.extended(case.planted.data.catalog.take(arrived), content)
    np.testing.assert_allclose(extended.modality_shares()[-2:], shares[arrived], atol=1e-6)


@pytest.mark.parametrize("name", ["attentive", "transformer"])
@pytest.mark.parametrize("left", ["planted", "half"])
def test_new_item_is_known_by_any_one_modality(name: str, left: str) -> None:
    case = fused(name)
    model: Any = case.model
    rows = np.array([0, 2, 4, 6], np.int64)
    content = {key: vectors[rows] * (key == left) for key, vectors in case.planted.data.content.items()}
    extended = model.extended(case.planted.data.catalog.take(rows), content)
    scores = extended.score(case.planted.queries)[:, -len(rows) :]
    tastes = np.array([case.planted.groups[liked[0]] for liked in case.planted.liked])
    askers = np.isin(tastes, case.planted.groups[rows])
    best = case.planted.groups[rows][scores.argmax(axis=1)]
    assert (best == tastes)[askers].mean() > 0.8


def test_nothing_stands_in_for_content_that_is_missing() -> None:
    content = seen_and_heard().data.content
    both = np.flatnonzero(content["half"].any(axis=1))[:2]
    model = registered("content")(registered("content").Config(encoders=("planted", "half")))
    model.fit(seen_and_heard().data, Run(PlainTrainer(), PlainStatistics()))
    alone = registered("content")(registered("content").Config(encoders=("planted",)))
    alone.fit(seen_and_heard().data, Run(PlainTrainer(), PlainStatistics()))
    query = Query(History.of_items([1]), 0)
    np.testing.assert_allclose(model.score([query]), alone.score([query]), atol=1e-6)
    read = Query(History.of_items(both), 0)
    assert not np.allclose(model.score([read]), alone.score([read]), atol=1e-3)


def test_content_that_is_missing_is_said() -> None:
    kind = registered("attentive")
    planted, run = planted_groups(), Run(PlainTrainer(), PlainStatistics())
    with pytest.raises(ConfigError, match=r"no vectors of encoder 'absent'.*planted"):
        kind(kind.Config(encoders=("absent",))).fit(planted.data, run)
    model = case_of("attentive").model
    assert isinstance(model, InductiveModel)
    with pytest.raises(ConfigError, match="trained without content"):
        model.extended(planted.data.catalog, planted.data.content)
