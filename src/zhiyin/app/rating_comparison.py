"""Models that predict ratings side by side, by cross-validation with settings chosen inside the training folds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Ratings, Selection, best_trial, rating_model, rating_models
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Model, Progress, RankingTwin, Silent
from zhiyin.dataset.splits import fold_splits
from zhiyin.evaluation.leaderboard import Entry, Leaderboard
from zhiyin.evaluation.rating import RatingResult, evaluate_ratings

FOLDS = 5
INNER_FOLDS = 10
"""One of them validates: a tenth of what a fold trains on."""


@dataclass(frozen=True)
class RatingsRequest:
    """models: none means all that predict ratings; one that only ranks stands for its twin that rates.

    checkpoints: folder for interrupted trainings. device: where networks are trained; None takes the best.
    """

    models: Sequence[str] = ()
    seed: int = 0
    checkpoints: Path | None = None
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None
    device: str | None = None


def compare_ratings(data: Dataset, request: RatingsRequest) -> Leaderboard:
    """RMSE and MAE over all ratings, each predicted once. Raises `InputError` for a model that predicts none."""
    splits = list(fold_splits(data, FOLDS, request.seed))
    entries = []
    for name in dict.fromkeys(map(rating_name, request.models or rating_models())):
        request.announce(name)
        began = time.perf_counter()
        answers, configs = zip(*(_fold(name, place, split, request) for place, split in enumerate(splits)), strict=True)
        whole = RatingResult.over_folds(answers, [split.holdout for split in splits])
        n = len(data.users)
        intervals = whole.intervals(n, request.seed)
        seconds = time.perf_counter() - began
        entries.append(Entry(name, {"folds": configs}, whole.per_user(n), seconds, intervals))
    words = f"{FOLDS}-fold cross-validation of ratings, seed {request.seed}, settings chosen inside the training folds"
    return Leaderboard.build(entries, protocol=words, metric="rmse", seed=request.seed)


def rating_name(name: str) -> str:
    """The registered name of the model that predicts ratings where `name` is asked for."""
    model = make_model(name)
    return model.rating_mode if isinstance(model, RankingTwin) else name


def fitted_inside(name: str, train: Dataset, selection: Selection) -> tuple[Model, Mapping[str, Any]]:
    """A model fitted on `train` with settings that a tenth of its ratings chose, and these settings.

    selection: by ratings; in its folder of checkpoints interrupted trainings on `train` find their place again.
    """
    trial = best_trial(name, next(fold_splits(train, INNER_FOLDS, selection.seed)), selection)
    model = make_model(name, trial.config)
    model.fit(train, selection.run().called(f"{name}-refit"))
    return model, trial.config


def _fold(name: str, place: int, split: Split, request: RatingsRequest) -> tuple[RatingResult, Mapping[str, Any]]:
    rating_model(make_model(name))
    selection = Selection(
        request.seed,
        progress=request.progress,
        checkpoints=request.checkpoints / f"fold-{place}" if request.checkpoints is not None else None,
        goal=Ratings(),
        device=request.device,
    )
    model, config = fitted_inside(name, split.train, selection)
    return evaluate_ratings(rating_model(model), split.holdout), config
