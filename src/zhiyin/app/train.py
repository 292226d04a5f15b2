"""Use case: choose on validation, refit on everything, publish."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zhiyin
from zhiyin.app.loading import CATALOG, USER_COLUMNS, catalog_to_json, columns_to_json
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection, Trial, best_trial, candidates, validation_split
from zhiyin.artifacts.folder import publish
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Model, Progress, Silent
from zhiyin.core.results import Manifest
from zhiyin.dataset.settings import PreparationSettings

FALLBACK = "popularity"


@dataclass(frozen=True)
class TrainRequest:
    """model: None chooses among all. validation: "time", "leave-one-out" or "random" (users).

    settings: of the model. progress: told of each training. announce: told of each model tried.
    """

    store: str
    out: Path
    model: str | None = None
    models: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    validation: str = "time"
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class TrainReport:
    """trials: best first. chosen: the first of them, refitted on everything and published."""

    trials: tuple[Trial, ...]
    chosen: Trial
    manifest: Manifest
    users: int
    items: int
    events: int


def train(request: TrainRequest) -> TrainReport:
    """Fits, compares on validation data, refits the best on everything and publishes it under `request.out`."""
    data = prepare_dataset(request.store, request.preparation, request.out / "vectors")
    split = validation_split(data, request.validation, request.seed)
    wanted = [request.model] if request.model else list(request.models or candidates(data))
    selection = Selection(request.seed, request.settings, request.progress, request.out / "checkpoints")
    trials = []
    for name in wanted:
        request.announce(name)
        trials.append(best_trial(name, split, selection))
    trials.sort(key=lambda trial: -trial.validation)
    chosen = trials[0]
    run = selection.run()
    main = make_model(chosen.model, chosen.config)
    main.fit(data, run)
    fallback = make_model(FALLBACK)
    fallback.fit(data, run)
    manifest = _publish(request, data, split, chosen, {"main": main, "fallback": fallback})
    return TrainReport(tuple(trials), chosen, manifest, len(data.users), len(data.items), len(data.histories.items))


def _publish(
    request: TrainRequest, data: Dataset, split: Split, chosen: Trial, models: Mapping[str, Model]
) -> Manifest:
    components = {
        name: {"model": model.name, "config": model.config.model_dump(mode="json")} for name, model in models.items()
    }
    description = {
        "code_version": zhiyin.__version__,
        "settings": request.preparation.model_dump(mode="json"),
        "data": {
            "fingerprint": data.fingerprint,
            "users": len(data.users),
            "items": len(data.items),
            "events": len(data.histories.items),
            "rating_scale": data.rating_scale,
        },
        "split": {"protocol": request.validation, "users": len(split.holdout), "seed": request.seed},
        "metrics": {name: asdict(interval) for name, interval in chosen.intervals.items()},
    }
    parameters = {name: model.parameters() for name, model in models.items()}
    documents = {
        CATALOG: catalog_to_json(data.catalog),
        USER_COLUMNS: columns_to_json(data.user_features.columns),
    }
    return publish(request.out, components, parameters, documents, description)
