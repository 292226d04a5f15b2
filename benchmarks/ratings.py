"""RMSE of predicted ratings on MovieLens 100K by 5-fold cross-validation, and of `attentive` without its attention.

    python benchmarks/ratings.py --data DIR [--seed N] [--out FILE.json]

DIR holds `u.data`, which is fetched into it where it is missing. Settings are chosen inside the training folds. It ends
with status 1 where a bound is missed: the best at most 0.918; attentive at most 0.93, and at least 0.01 below itself
with attention weights of zero.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from preparing import prepared

from zhiyin.app.movielens import fetch_movielens
from zhiyin.app.rating_comparison import FOLDS, fitted_inside
from zhiyin.app.registry import make_model
from zhiyin.app.selection import rating_model, rating_models
from zhiyin.core.dataset import Dataset
from zhiyin.core.models import Model, Silent
from zhiyin.dataset.splits import fold_splits
from zhiyin.evaluation.rating import RatingResult, evaluate_ratings

ATTENTIVE, DEAF = "attentive-ratings", "attentive-ratings, attention weights zero"
BEST, ATTENTIVE_MOST, GAIN = 0.918, 0.93, 0.01


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20_261)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data = prepared(fetch_movielens(arguments.data, print).events)
    figures = {name: figure for model in rating_models() for name, figure in measured(model, data, arguments.seed)}
    print(f"{FOLDS} folds, seed {arguments.seed}, load {os.getloadavg()[0]:.1f}")
    for name, figure in sorted(figures.items(), key=lambda pair: pair[1]["rmse"][0]):
        mean, low, high = figure["rmse"]
        folds = " ".join(f"{value:.4f}" for value in figure["folds"])
        print(f"{name:42} rmse {mean:.4f} [{low:.4f}, {high:.4f}]  mae {figure['mae'][0]:.4f}  folds {folds}", end="")
        print(f"  mean {np.mean(figure['folds']):.4f}  {figure['seconds']:.0f} s")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"seed": arguments.seed, "figures": figures}, indent=1), "utf-8")
    means = {name: float(np.mean(figure["folds"])) for name, figure in figures.items()}
    held = min(means.values()) <= BEST and means[ATTENTIVE] <= min(ATTENTIVE_MOST, means[DEAF] - GAIN)
    print("all bounds held" if held else "A BOUND WAS MISSED")
    return 0 if held else 1


def measured(name: str, data: Dataset, seed: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Figures of the model, and of what is left of `attentive` without its attention."""
    began = time.perf_counter()
    splits = list(fold_splits(data, FOLDS, seed))
    answers: dict[str, list[RatingResult]] = {}
    for split in splits:
        model, config = fitted_inside(name, split.train, seed, Silent())
        print(f"{name}: {json.dumps(config)}", file=sys.stderr)
        answers.setdefault(name, []).append(evaluate_ratings(rating_model(model), split.holdout))
        if name == ATTENTIVE:
            answers.setdefault(DEAF, []).append(evaluate_ratings(rating_model(deaf(model)), split.holdout))
    figures: list[tuple[str, Mapping[str, Any]]] = []
    for each, results in answers.items():
        whole = RatingResult.over_folds(results, [split.holdout for split in splits])
        intervals = whole.intervals(len(data.users), seed)
        figure = {metric: (i.mean, i.low, i.high) for metric, i in intervals.items()}
        folds = [result.metrics["rmse"] for result in results]
        figures.append((each, {**figure, "folds": folds, "seconds": time.perf_counter() - began}))
    return figures


def deaf(model: Model) -> Model:
    """The fitted model with every attention weight zero: tanh(0 . k + 0)."""
    parameters = dict(model.parameters())
    for silenced in ("targets.weight", "attention_bias"):
        parameters[silenced] = np.zeros_like(parameters[silenced])
    other = make_model(ATTENTIVE, model.config.model_dump())
    other.load_parameters(parameters)
    return other


if __name__ == "__main__":
    sys.exit(main())
