"""Use case: fold what came in since into a published system, without choosing or training it anew."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zhiyin.app.incumbent import answers_of
from zhiyin.app.loading import VECTORS, load_system
from zhiyin.app.prepare import people_of, prepare_dataset
from zhiyin.app.publishing import BOARD, REPORT, publish_fitted
from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED, Selection
from zhiyin.app.system import System
from zhiyin.artifacts.folder import current
from zhiyin.core.catalog import Users
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.models import Before, Model, Progress, Silent
from zhiyin.core.results import Manifest
from zhiyin.dataset.splits import next_events_since
from zhiyin.evaluation.drift import Drift, drift_since
from zhiyin.evaluation.intervals import Interval, bootstrap_interval

MAIN = "main"


@dataclass(frozen=True)
class UpdateRequest:
    """out: folder of the system. progress: told of each training. announce: told of each step. device: where networks
    are trained; None takes the best.
    """

    store: str
    out: Path
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None
    device: str | None = None
    tenant: str = "default"


@dataclass(frozen=True)
class UpdateReport:
    """drift: what came since, beside what was before. found: NDCG@10 of the system as it was, on the next item of each
    user since, where it knows that; None where nobody has one. tested: its figure where it was trained, None without a
    test by the next event. manifest: of the version that was published; None where nothing came since.
    """

    drift: Drift
    found: Interval | None
    tested: Interval | None
    model: str
    manifest: Manifest | None

    @property
    def worse(self) -> bool:
        """Whether what came since is answered worse than the test was, by more than chance."""
        return self.found is not None and self.tested is not None and self.found.high < self.tested.low


def update(request: UpdateRequest) -> UpdateReport:
    """Publishes the system anew, fitted on everything in the store at the settings that its training chose.

    Models in closed form are solved again. Networks go on from where they were, for as many of their epochs as what
    came since is of all events, one at least. How far that drifts from what the system was trained on is measured
    first, and stands in the manifest under `extra`. Raises `ArtifactError` where no system is there, and for one
    published before the moment of its training was written down.
    """
    version = current(request.out)
    system = load_system(request.out)
    manifest = system.manifest
    if "now" not in manifest.data:
        raise ArtifactError(f"{version}: does not say up to when it was trained; train again")
    data = prepare_dataset(request.store, system.settings, request.out / VECTORS, request.tenant)
    places = system.items.rows(data.items.ids)
    since = manifest.data["now"] + 1
    drift = drift_since(data, since, places)
    found, tested = _found(system, data, people_of(request.store, request.tenant)), _tested(manifest)
    name = str(manifest.components[MAIN]["model"])
    if data.fingerprint == manifest.data["fingerprint"]:
        return UpdateReport(drift, found, tested, name, None)
    share = float(np.clip(1 - manifest.data["events"] / len(data.histories.items), 0, 1))
    run = Selection(manifest.split["seed"], progress=request.progress, device=request.device).run()
    models: dict[str, Model] = {}
    for component, described in manifest.components.items():
        request.announce(f"{described['model']}, on what came since")
        models[component] = make_model(described["model"], described["config"])
        before = Before(system.model, places, share) if component == MAIN else None
        models[component].fit(data, replace(run, before=before))
    told: dict[str, Any] = {
        "settings": system.settings.model_dump(mode="json"),
        "split": manifest.split,
        "metrics": manifest.metrics,
        "extra": {
            **manifest.extra,
            "update": {
                "of": manifest.manifest_id,
                "drift": asdict(drift),
                WATCHED: None if found is None else asdict(found),
            },
        },
    }
    documents = {each: (version / each).read_bytes() for each in (REPORT, BOARD)}
    return UpdateReport(drift, found, tested, name, publish_fitted(request.out, data, models, documents, told))


def _found(system: System, data: Dataset, people: Users) -> Interval | None:
    try:
        asked = next_events_since(data, system.manifest.data["now"] + 1).holdout
    except InputError:
        return None
    found = answers_of(system, data, asked, people)
    return bootstrap_interval(found[~np.isnan(found)])


def _tested(manifest: Manifest) -> Interval | None:
    tested = (manifest.metrics.get("test") or {}).get(WATCHED)
    if tested is None or not tested["n"] or manifest.split["protocol"] != "next":
        return None
    return Interval(**tested)
