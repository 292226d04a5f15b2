"""The gradient models pass the suite every model passes, and reasons add up."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Run, VectorModel
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
