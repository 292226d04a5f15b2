"""The gradient models pass the suite every model passes, and reasons add up."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.histories import History
from zhiyin.core.models import InductiveModel, Run, VectorModel
from zhiyin.testing.model_conformance import CHECKS, Case, check_finds_the_pattern, registered
from zhiyin.testing.synthetic import planted_groups
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
@pytest.mark.parametrize("check", [*CHECKS, check_finds_the_pattern], ids=lambda check: check.__name__)
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
    for check in (*CHECKS, check_finds_the_pattern):
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


def test_content_that_is_missing_is_said() -> None:
    kind = registered("attentive")
    planted, run = planted_groups(), Run(PlainTrainer(), PlainStatistics())
    with pytest.raises(ConfigError, match=r"no vectors of encoder 'absent'.*planted"):
        kind(kind.Config(encoders=("absent",))).fit(planted.data, run)
    model = case_of("attentive").model
    assert isinstance(model, InductiveModel)
    with pytest.raises(ConfigError, match="trained without content"):
        model.extended(planted.data.catalog, planted.data.content)
