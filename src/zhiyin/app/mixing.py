"""Models that were tried one by one as a single one: a blend, and a ranker over it, without training any anew."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from zhiyin.app.contenders import MIXTURES
from zhiyin.app.registry import model_class
from zhiyin.app.selection import Trial, evaluated, verdict
from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Model, TaughtModel
from zhiyin.models.blend import Blend
from zhiyin.models.ranker import Ranker


def mixed(trials: Mapping[str, Trial], fitted: Mapping[str, Model], split: Split, seed: int) -> dict[str, Trial]:
    """By name the blend of models `fitted` on what `split` leaves to train on, at the settings of their `trials`, and
    the ranker over it.

    The one is weighed and the other taught on the questions of `split`. Validation figures are those of two that learn
    from half of the users and answer the other half, so that they are as honest as those of their parts.
    """
    began = time.perf_counter()
    settings = {label: trials[label].config for label in fitted}
    places = _halves(split, seed)
    halves = [replace(split, holdout=split.holdout.take(each)) for each in places]
    both = [(_made(learning, settings, fitted, seed), asked) for learning, asked in (halves, halves[::-1])]
    whole = _made(split, settings, fitted, seed)
    made = {}
    for name, model in whole.items():
        results = [evaluated(half[name], asked) for half, asked in both]
        order = np.argsort(np.concatenate(places[::-1]))
        metrics = {
            metric: np.concatenate([each.metrics[metric] for each in results])[order] for metric in results[0].metrics
        }
        found, config = verdict(metrics, seed), model.config.model_dump(mode="json")
        learned = model.learned() if isinstance(model, TaughtModel) else {}
        seconds = time.perf_counter() - began
        made[name] = Trial(name, config, found.figure, found.intervals, seconds, users=found.users, learned=learned)
        began = time.perf_counter()
    return made


def joined(trial: Trial, parts: Mapping[str, Model], data: Dataset) -> Blend:
    """What `mixed` made, of parts that are fitted on `data`."""
    kind: type[Blend] = model_class(trial.model)
    config = kind.Config(**trial.config)
    whole = kind.of_fitted(config, {label: parts[label] for label in config.parts}, data)
    if isinstance(whole, TaughtModel):
        whole.take(trial.learned)
    return whole


def _made(
    split: Split, settings: Mapping[str, Mapping[str, object]], fitted: Mapping[str, Model], seed: int
) -> dict[str, Blend]:
    blend = Blend.weighed_on(split, settings, fitted, seed)
    return dict(zip(MIXTURES, (blend, Ranker.taught_on(split, blend, seed)), strict=True))


def _halves(split: Split, seed: int) -> list[IntVector]:
    """Places in the hold-out of each of two."""
    order = np.random.default_rng(seed).permutation(len(split.holdout))
    return [np.sort(order[start::2]) for start in (0, 1)]
