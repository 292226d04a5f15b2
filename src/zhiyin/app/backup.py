"""Use case: everything a shop has in one file, and back from it, into either database."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import zhiyin
from zhiyin.app.loading import VECTORS
from zhiyin.artifacts.folder import sha256_of, versions
from zhiyin.core.errors import InputError
from zhiyin.storage.copying import READABLE, TABLES, Row, fill, reading
from zhiyin.storage.opening import open_stores

FORMAT = 1
CONTENTS = "contents.json"
_TABLES, _ARTIFACT = "tables", "artifact"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BackupReport:
    """rows: by table, of all tenants. files: of the trained system. bytes: of the file."""

    rows: Mapping[str, int]
    files: int
    bytes: int


def back_up(store: str, out: Path, artifact: Path | None = None) -> BackupReport:
    """Writes all tenants of the store, as it is at one moment, and the versions under `artifact` to the file `out`.

    A server may go on meanwhile. Raises `InputError` where there is such a file or it cannot be written, `StoreError`
    as opening does.
    """
    if out.exists():
        raise InputError(f"{out} exists: name another file")
    building = out.with_name(f".{out.name}.building-{os.getpid()}")
    hashes: dict[str, str] = {}
    try:
        with (
            closing(open_stores(store, new=False)) as stores,
            zipfile.ZipFile(building, "x", zipfile.ZIP_DEFLATED) as archive,
        ):
            with reading(stores.database) as reader:
                rows = {name: _write_rows(archive, name, reader.rows(name), hashes) for name in TABLES}
            if artifact is not None:
                _write_files(archive, artifact, hashes)
            told = {
                "format": FORMAT,
                "code_version": zhiyin.__version__,
                "created": datetime.now(UTC).isoformat(),
                "rows": rows,
                "sha256": hashes,
            }
            archive.writestr(CONTENTS, json.dumps(told, indent=2))
        with building.open("rb") as stream:
            os.fsync(stream.fileno())
        building.rename(out)
    except OSError as error:
        raise InputError(f"{out}: the backup was not written ({error}); try again") from error
    finally:
        building.unlink(missing_ok=True)
    return BackupReport(rows, len(hashes) - len(rows), out.stat().st_size)


def restore(file: Path, store: str, artifact: Path | None = None) -> BackupReport:
    """Puts all that a backup holds into a store that is empty, and into a folder `artifact` that is not there yet.

    Everything in the file is checked before anything is written. Raises `InputError` for a file that is no backup or is
    damaged, and for a folder that is there; `StoreError` for a store that is not empty.
    """
    if artifact is not None and artifact.exists():
        raise InputError(f"{artifact} exists: name another folder")
    try:
        with zipfile.ZipFile(file) as archive:
            told = _checked(file, archive)
            with closing(open_stores(store)) as stores:
                rows = fill(stores.database, ((name, _rows(archive, name)) for name in told["rows"]))
            files = [name for name in told["sha256"] if name.startswith(f"{_ARTIFACT}/")]
            if artifact is not None and files:
                _unpack(archive, files, artifact)
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{file}: cannot be read as a backup ({error})") from error
    return BackupReport(rows, len(files) if artifact is not None else 0, file.stat().st_size)


def _write_rows(archive: zipfile.ZipFile, table: str, rows: Iterable[Row], hashes: dict[str, str]) -> int:
    name, digest, count = f"{_TABLES}/{table}.jsonl", hashlib.sha256(), 0
    with archive.open(name, "w", force_zip64=True) as member:
        for row in rows:
            line = (json.dumps(row) + "\n").encode()
            digest.update(line)
            member.write(line)
            count += 1
    hashes[name] = digest.hexdigest()
    return count


def _write_files(archive: zipfile.ZipFile, artifact: Path, hashes: dict[str, str]) -> None:
    """Every version, and what training kept for the next; not trainings that were broken off."""
    found = [artifact / "CURRENT"] if (artifact / "CURRENT").is_file() else []
    for folder in (*versions(artifact), artifact / VECTORS):
        found += sorted(path for path in folder.rglob("*") if path.is_file())
    for path in found:
        name = f"{_ARTIFACT}/{path.relative_to(artifact).as_posix()}"
        archive.write(path, name)
        hashes[name] = sha256_of(path)


def _checked(file: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """What the file says of itself, which is true of each of its parts."""
    try:
        told: dict[str, Any] = json.loads(archive.read(CONTENTS))
        hashes, form = told["sha256"], told["format"]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: is no backup ({error})") from error
    if form != FORMAT:
        raise InputError(f"{file}: format {form}, this program reads {FORMAT}")
    if set(told["rows"]) - READABLE:
        raise InputError(f"{file}: holds tables that this program does not know; upgrade zhiyin")
    for name, expected in hashes.items():
        parts = PurePosixPath(name).parts
        if name not in archive.NameToInfo or ".." in parts or parts[0] not in {_TABLES, _ARTIFACT}:
            raise InputError(f"{file}: {name} is missing, or is where no part of a backup is")
        with archive.open(name) as member:
            digest = hashlib.sha256()
            while chunk := member.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != expected:
            raise InputError(f"{file}: {name} differs from what the backup says of it; take another copy")
    return told


def _rows(archive: zipfile.ZipFile, table: str) -> Iterator[Row]:
    with archive.open(f"{_TABLES}/{table}.jsonl") as member:
        for line in member:
            yield json.loads(line)


def _unpack(archive: zipfile.ZipFile, files: list[str], artifact: Path) -> None:
    building = artifact.with_name(f".{artifact.name}.building-{os.getpid()}")
    try:
        for name in files:
            path = building / PurePosixPath(name).relative_to(_ARTIFACT)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as member, path.open("wb") as stream:
                shutil.copyfileobj(member, stream)
        building.rename(artifact)
    finally:
        shutil.rmtree(building, ignore_errors=True)
