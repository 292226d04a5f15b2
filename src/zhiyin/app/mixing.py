"""Models that were tried one by one as a single one: a blend of them, made and judged without training any anew."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zhiyin.app.contenders import MIXTURE
from zhiyin.app.selection import WATCHED, Trial, evaluated
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Model
from zhiyin.evaluation.intervals import bootstrap_intervals
from zhiyin.evaluation.ranking import mean_defined
from zhiyin.models.blend import Blend


def mixed(trials: Mapping[str, Trial], fitted: Mapping[str, Model], split: Split, seed: int) -> Trial:
    """The blend of models `fitted` on what `split` leaves to train on, at the settings of their `trials`.

    It is weighed on the questions of `split`. Its validation figure is that of blends which are weighed on half of the
    users and answer the other half, both ways, so that it is as honest as those of its parts.
    """
    began = time.perf_counter()
    settings = {label: trials[label].config for label in fitted}
    halves = _halves(split, seed)
    results = [
        evaluated(Blend.weighed_on(weighing, settings, fitted, seed), asked)
        for weighing, asked in (halves, halves[::-1])
    ]
    metrics = {name: np.concatenate([result.metrics[name] for result in results]) for name in results[0].metrics}
    whole = Blend.weighed_on(split, settings, fitted, seed)
    config: dict[str, Any] = whole.config.model_dump(mode="json")
    figure, intervals = mean_defined(metrics[WATCHED]), bootstrap_intervals(metrics, seed=seed)
    return Trial(MIXTURE, config, figure, intervals, time.perf_counter() - began)


def joined(trial: Trial, parts: Mapping[str, Model], data: Dataset) -> Blend:
    """The blend of a `mixed` trial, of `parts` that are fitted on `data`."""
    config = Blend.Config(**trial.config)
    return Blend.of_fitted(config, {label: parts[label] for label in config.parts}, data)


def _halves(split: Split, seed: int) -> tuple[Split, Split]:
    order = np.random.default_rng(seed).permutation(len(split.holdout))
    first, second = (replace(split, holdout=split.holdout.take(np.sort(order[start::2]))) for start in (0, 1))
    return first, second
