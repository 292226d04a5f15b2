"""Fitted models, published as a version of a system."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import zhiyin
from zhiyin.app.loading import CATALOG, USER_COLUMNS, catalog_to_json, columns_to_json
from zhiyin.artifacts.folder import publish
from zhiyin.core.dataset import Dataset
from zhiyin.core.models import Model
from zhiyin.core.results import Manifest

REPORT, BOARD = "report.html", "leaderboard.json"


def publish_fitted(
    out: Path,
    data: Dataset,
    models: Mapping[str, Model],
    documents: Mapping[str, bytes],
    told: Mapping[str, Any],
) -> Manifest:
    """models: by component, fitted on `data`. documents: `REPORT` and `BOARD`. told: the manifest's `settings`,
    `split`, `metrics` and, if any, `extra`.
    """
    components = {
        name: {"model": model.name, "config": model.config.model_dump(mode="json")} for name, model in models.items()
    }
    description = {
        "code_version": zhiyin.__version__,
        "data": {
            "fingerprint": data.fingerprint,
            "users": len(data.users),
            "items": len(data.items),
            "events": len(data.histories.items),
            "now": data.now,
            "rating_scale": data.rating_scale,
            "removals": [asdict(removal) for removal in data.removals],
        },
        **told,
    }
    parameters = {name: model.parameters() for name, model in models.items()}
    files = {
        CATALOG: catalog_to_json(data.catalog),
        USER_COLUMNS: columns_to_json(data.user_features.columns),
        **documents,
    }
    return publish(out, components, parameters, files, description)
