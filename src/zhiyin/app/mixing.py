"""Models that were tried one by one as a single one: a blend, and a ranker over it, without training any anew."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from zhiyin.app.registry import model_class
from zhiyin.app.selection import Trial, verdict
from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Model, TaughtModel
from zhiyin.evaluation.ranking import RankingResult, evaluate_stages
from zhiyin.models.blend import Blend
from zhiyin.models.ranker import Ranker


def mixed(trials: Mapping[str, Trial], fitted: Mapping[str, Model], split: Split, seed: int) -> dict[str, Trial]:
    """By name the blend of models `fitted` on what `split` leaves to train on, at the settings of their `trials`, and
    the ranker over it.

    The one is weighed and the other taught on the questions of `split`. Validation figures are those of two that learn
    from half of the users and answer the other half, so that they are as honest as those of their parts. Seconds are of
    both together.
    """
    began = time.perf_counter()
    settings = {label: trials[label].config for label in fitted}
    places = _halves(split, seed)
    halves = [replace(split, holdout=split.holdout.take(each)) for each in places]
    judged = []
    for learning, asked in (halves, halves[::-1]):
        _, ranker = _made(learning, settings, fitted, seed)
        judged.append(evaluated_stages(ranker, asked))
    order = np.argsort(np.concatenate(places[::-1]))
    whole = _made(split, settings, fitted, seed)
    seconds = time.perf_counter() - began
    made = {}
    for model in whole:
        results = [each[model.name].metrics for each in judged]
        metrics = {name: np.concatenate([each[name] for each in results])[order] for name in results[0]}
        found, config = verdict(metrics, seed), model.config.model_dump(mode="json")
        learned = model.learned() if isinstance(model, TaughtModel) else {}
        trial = Trial(model.name, config, found.figure, found.intervals, seconds, users=found.users, learned=learned)
        made[model.name] = trial
    return made


def joined(trial: Trial, parts: Mapping[str, Model], data: Dataset) -> Blend:
    """What `mixed` made, of parts that are fitted on `data`."""
    kind: type[Blend] = model_class(trial.model)
    config = kind.Config(**trial.config)
    whole = kind.of_fitted(config, {label: parts[label] for label in config.parts}, data)
    if isinstance(whole, TaughtModel):
        whole.take(trial.learned)
    return whole


def evaluated_stages(ranker: Ranker, split: Split) -> dict[str, RankingResult]:
    """By name of the ranker, and of the blend that it stands over, which answers the same questions on the way."""
    with threadpool_limits(1, "openmp"):
        return evaluate_stages(ranker.stages, split.holdout, len(split.train.items))


def _made(
    split: Split, settings: Mapping[str, Mapping[str, object]], fitted: Mapping[str, Model], seed: int
) -> tuple[Blend, Ranker]:
    blend = Blend.weighed_on(split, settings, fitted, seed)
    return blend, Ranker.taught_on(split, blend, seed)


def _halves(split: Split, seed: int) -> list[IntVector]:
    """Places in the hold-out of each of two."""
    order = np.random.default_rng(seed).permutation(len(split.holdout))
    return [np.sort(order[start::2]) for start in (0, 1)]
