"""A published system is whole or refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from zhiyin.artifacts.folder import KEPT_VERSIONS, current, publish, read_manifest, read_parameters, verify
from zhiyin.core.errors import ArtifactError
from zhiyin.core.results import Manifest

DESCRIPTION = {"code_version": "0", "settings": {}, "data": {}, "split": {}, "metrics": {}}


def published(folder: Path, value: float = 1.0) -> Manifest:
    parameters = {"main": {"blocks.0.weight": np.full((2, 2), value)}}
    return publish(folder, {"main": {"model": "m", "config": {}}}, parameters, {"note.txt": b"hi"}, DESCRIPTION)


def test_round_trip(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    version = current(tmp_path)
    assert read_manifest(version) == manifest
    verify(version, manifest)
    np.testing.assert_array_equal(read_parameters(version)["main"]["blocks.0.weight"], np.ones((2, 2)))


def test_latest_serves_and_old_versions_go(tmp_path: Path) -> None:
    manifests = [published(tmp_path, value) for value in range(KEPT_VERSIONS + 2)]
    assert current(tmp_path).name == manifests[-1].manifest_id
    assert len(list(tmp_path.glob("*/manifest.json"))) == KEPT_VERSIONS


def test_damage_is_refused(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    version = current(tmp_path)
    (version / "note.txt").write_text("changed")
    with pytest.raises(ArtifactError, match=r"note\.txt: content differs"):
        verify(version, manifest)
    (version / "note.txt").unlink()
    with pytest.raises(ArtifactError, match=r"note\.txt: missing"):
        verify(version, manifest)
    (version / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_parameters(version)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    published(tmp_path, float("nan"))
    with pytest.raises(ArtifactError, match="not finite"):
        read_parameters(current(tmp_path))


def test_other_formats_and_empty_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="zhiyin train"):
        current(tmp_path)
    published(tmp_path)
    path = current(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(ArtifactError, match="format version 99"):
        read_manifest(current(tmp_path))
    (tmp_path / "CURRENT").write_text("../elsewhere\n")
    with pytest.raises(ArtifactError, match="not a version"):
        current(tmp_path)
