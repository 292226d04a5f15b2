"""Use case: a published system, verified and put in memory."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import ValidationError

from zhiyin.app.registry import make_model
from zhiyin.app.settings import problems
from zhiyin.app.system import System
from zhiyin.artifacts.folder import current, read_manifest, read_parameters, verify
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import FeatureColumn
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.models import Model, Parameters
from zhiyin.core.results import Manifest
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.dataset.settings import PreparationSettings

CATALOG = "catalogue.json"
USER_COLUMNS = "user-columns.json"
PROFILE = "profile"
"""The component for users of whom only attributes are known, and the model that it is."""

VECTORS = "vectors"
"""The folder, beside the versions, of the item vectors that training keeps."""


def load_system(artifact: Path) -> System:
    """The current version under `artifact`. Raises `ArtifactError` where any file differs from its manifest, or where
    the manifest names a model or a setting that this program does not know.

    A version published before the columns of users were kept reads no attributes, as it did when it was published.
    """
    return load_version(current(Path(artifact)))


def load_version(version: Path) -> System:
    """One version, whether it is current or not. Raises `ArtifactError` as `load_system` does."""
    manifest = read_manifest(version)
    verify(version, manifest)
    parameters = read_parameters(version)
    if set(parameters) != set(manifest.components):
        raise ArtifactError(f"{version}: parameters are of {sorted(parameters)}, not of {sorted(manifest.components)}")
    try:
        return replace(_system(version, manifest, parameters), vectors=version.parent / VECTORS)
    except (ConfigError, ValidationError, KeyError) as error:
        what = problems(error) if isinstance(error, ValidationError) else error
        raise ArtifactError(
            f"{version}: its manifest is not as this program writes it ({what}); train again"
        ) from error


def _system(version: Path, manifest: Manifest, parameters: Mapping[str, Parameters]) -> System:
    models: dict[str, Model] = {}
    for name, component in manifest.components.items():
        models[name] = make_model(component["model"], component["config"])
        models[name].load_parameters(parameters[name])
    catalog = catalog_from_json((version / CATALOG).read_bytes())
    scale = manifest.data["rating_scale"]
    return System(
        manifest=manifest,
        model=models["main"],
        fallback=models["fallback"],
        profile=models.get(PROFILE),
        items=Vocabulary(catalog.item_id),
        catalog=catalog,
        settings=PreparationSettings(**manifest.settings),
        rating_scale=(scale[0], scale[1]) if scale else None,
        user_columns=columns_from_json((version / USER_COLUMNS).read_bytes()) if USER_COLUMNS in manifest.files else (),
    )


def catalog_to_json(catalog: Catalog) -> bytes:
    """The catalogue by column; numbers that are not finite become null."""
    columns = {
        "item_id": list(catalog.item_id),
        "title": list(catalog.title),
        "description": list(catalog.description),
        "categories": [list(group) for group in catalog.categories],
        "price": [None if price != price else float(price) for price in catalog.price],  # noqa: PLR0124
        "image": list(catalog.image),
        "audio": list(catalog.audio),
        "available_from": catalog.available_from.tolist(),
        "available": catalog.available.tolist(),
        "attributes": {name: list(values) for name, values in catalog.attributes.items()},
    }
    return json.dumps(columns, ensure_ascii=False).encode()


def catalog_from_json(content: bytes) -> Catalog:
    columns = json.loads(content)
    columns["price"] = [float("nan") if price is None else price for price in columns["price"]]
    return Catalog.build(**columns)


def columns_to_json(columns: Iterable[FeatureColumn]) -> bytes:
    return json.dumps([asdict(column) for column in columns], ensure_ascii=False).encode()


def columns_from_json(content: bytes) -> tuple[FeatureColumn, ...]:
    return tuple(FeatureColumn(**column) for column in json.loads(content))
