"""A trained system on disk: written beside, then moved into place; loaded only when every hash agrees."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from zhiyin.core.errors import ArtifactError
from zhiyin.core.models import Parameters
from zhiyin.core.results import Manifest
from zhiyin.core.strict_json import strict_json

FORMAT_VERSION = 1
KEPT_VERSIONS = 5
TENSORS = "model.safetensors"


def publish(
    folder: Path,
    components: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[str, Parameters],
    documents: Mapping[str, bytes],
    description: Mapping[str, Any],
) -> Manifest:
    """Writes a new immutable version under `folder` and makes it current; the last `KEPT_VERSIONS` are kept.

    parameters: component -> arrays, stored as "component.name". documents: further files by name.
    description: the manifest's `code_version, settings, data, split, metrics` (and, if any, `extra`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    tensors = {
        f"{component}.{name}": np.ascontiguousarray(array)
        for component, arrays in parameters.items()
        for name, array in arrays.items()
    }
    save_file(tensors, building / TENSORS)
    for name, content in documents.items():
        (building / name).write_bytes(content)
    files = {path.name: sha256_of(path) for path in sorted(building.iterdir())}
    whole = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    created = datetime.now(UTC)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        manifest_id=f"{created:%Y%m%dT%H%M%S%fZ}-{whole[:12]}",
        created=created.isoformat(),
        components=components,
        files=files,
        **description,
    )
    (building / "manifest.json").write_text(strict_json(asdict(manifest), indent=2), "utf-8")
    for path in building.iterdir():
        _fsync(path)
    building.rename(folder / manifest.manifest_id)
    pointer = folder / f".CURRENT-{os.getpid()}"
    pointer.write_text(manifest.manifest_id + "\n", "utf-8")
    _fsync(pointer)
    pointer.replace(folder / "CURRENT")
    _fsync(folder)
    for old in versions(folder)[KEPT_VERSIONS:]:
        shutil.rmtree(old)
    return manifest


def current(folder: Path) -> Path:
    """The version that serves. Raises `ArtifactError` where nothing was published."""
    try:
        name = (folder / "CURRENT").read_text("utf-8").strip()
    except OSError as error:
        raise ArtifactError(f"{folder}: no trained system here; run 'zhiyin train --out {folder}'") from error
    version = folder / name
    if Path(name).name != name or not (version / "manifest.json").is_file():
        raise ArtifactError(f"{folder / 'CURRENT'}: names {name!r}, which is not a version in this folder")
    return version


def versions(folder: Path) -> list[Path]:
    """All that is kept, the current one first, then the latest."""
    try:
        found = sorted((path.parent for path in folder.glob("*/manifest.json")), reverse=True)
        first = current(folder)
    except (OSError, ArtifactError):
        return found
    return [first, *(version for version in found if version != first)]


def read_manifest(version: Path) -> Manifest:
    """The manifest of a version. Raises `ArtifactError` where it cannot be read or is of another format."""
    path = version / "manifest.json"
    try:
        manifest = Manifest(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: not a readable manifest ({error}); train again") from error
    if manifest.format_version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format version {manifest.format_version}, this program reads {FORMAT_VERSION}; train again"
        )
    return manifest


def verify(version: Path, manifest: Manifest) -> None:
    """Raises `ArtifactError` unless every file is there with the hash the manifest gives."""
    for name, expected in manifest.files.items():
        path = version / name
        if Path(name).name != name or not path.is_file():
            raise ArtifactError(f"{path}: missing; restore it or train again")
        if sha256_of(path) != expected:
            raise ArtifactError(f"{path}: content differs from the manifest; restore it or train again")


def read_parameters(version: Path) -> dict[str, dict[str, np.ndarray]]:
    """component -> arrays, all finite. Raises `ArtifactError` otherwise."""
    path = version / TENSORS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); train again") from error
    components: dict[str, dict[str, np.ndarray]] = {}
    for key, array in tensors.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ArtifactError(f"{path}: {key} holds numbers that are not finite; train again")
        component, _, name = key.partition(".")
        components.setdefault(component, {})[name] = array
    return components


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
