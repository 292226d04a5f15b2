"""MovieLens 100K from either source, with files of the same shape in place of the network."""

import hashlib
import http.client
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from zhiyin.app import movielens
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.movielens import fetch_movielens
from zhiyin.core.errors import InputError
from zhiyin.storage.opening import open_stores

DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
USER = "186|24|M|technician|85711\n196|53|F|other|94043\n"
FILMS = (
    ("1", "Toy Story", "1995", "Animation Children's Comedy"),
    ("242", "Misérables, Les (Les Misérables)", "1995", "Drama"),
    ("267", "unkonwn", "unkonwn", "unknown"),
    ("302", "Land Before Time III (1995)", "V", "unknown"),
)
NAMED = {"267": "unknown", "302": "Land Before Time III (1995) (V)"}
ITEMS = (
    "item_id\ttitle\trelease_year\tgenres\n"
    "1\tToy Story\t1995\tAnimation|Children's|Comedy\n"
    "242\tMisérables, Les (Les Misérables)\t1995\tDrama\n"
    "267\tunknown\t\t\n"
    "302\tLand Before Time III\t1995\t\n"
)
FLAGS = {"unknown": 0, "Animation": 3, "Children's": 4, "Comedy": 5, "Drama": 8}


def published(path: Path) -> Path:
    lines = []
    for identifier, title, year, genres in FILMS:
        name = NAMED.get(identifier, f"{title} ({year})")
        flags = ["0"] * 19
        for genre in genres.split():
            flags[FLAGS[genre]] = "1"
        lines.append("|".join((identifier, name, "01-Jan-1996", "", f"http://x/?{name}", *flags)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-100k/u.data", DATA)
        archive.writestr("ml-100k/u.item", ("\n".join(lines) + "\n").encode("latin-1"))
        archive.writestr("ml-100k/u.user", USER)
    return path


def packed(folder: Path, data: str = DATA) -> Path:
    """A package that pip takes for one."""
    folder.mkdir()
    items = "".join("\t".join(film) + "\n" for film in FILMS)
    about = "films-1.dist-info"
    with zipfile.ZipFile(folder / "films-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("films/ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + data)
        wheel.writestr(
            "films/ml.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n" + items,
        )
        wheel.writestr(
            "films/ml.user", "user_id:token\tage:token\tg:token\to:token\tz:token\n" + USER.replace("|", "\t")
        )
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: films\nVersion: 1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return folder / "films-1-py3-none-any.whl"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """A function that puts two files in place of the publisher's archive and of the package."""
    whole = published(tmp_path / "whole.zip")
    contents = {"u.data": DATA, "u.user": USER, "items.tsv": ITEMS}
    sums = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(movielens, "SHA256", sums)
    monkeypatch.setattr(movielens, "PUBLISHER_SHA256", hashlib.sha256(whole.read_bytes()).hexdigest())
    monkeypatch.setattr(movielens, "PACKAGE_FILES", "films/ml")

    def use(archive: Path, package: Path) -> None:
        monkeypatch.setattr(movielens, "PUBLISHER", archive.as_uri())
        monkeypatch.setattr(movielens, "PACKAGE", str(package))

    return use


def test_both_sources_give_the_same_files(tmp_path: Path, sources: Callable[[Path, Path], None]) -> None:
    archive, package = tmp_path / "whole.zip", packed(tmp_path / "package")
    absent = tmp_path / "absent"
    sources(archive, absent)
    first = fetch_movielens(tmp_path / "first", lambda _: None)
    sources(absent, package)
    second = fetch_movielens(tmp_path / "second", lambda _: None)
    for path in (first.events, first.catalogue, first.users):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    assert second.catalogue.read_text("utf-8") == ITEMS
    store = f"sqlite:///{tmp_path / 'store.db'}"
    report = ingest(
        IngestRequest([second.events], store, str(second.catalogue), str(second.users), refused=tmp_path / "refused")
    )
    assert (report.files[0].added, report.catalogue, report.users, report.refusals) == (2, 4, 2, None)
    stores = open_stores(store)
    catalog = stores.catalog.read()
    assert list(catalog.attributes["release_year"]) == ["1995", "1995", None, "1995"]
    assert catalog.categories[0] == ("Animation", "Children's", "Comedy")
    assert stores.users.attributes("196")["occupation"] == "other"
    stores.close()


def test_what_was_changed_on_the_way_is_taken_from_the_other_source(
    tmp_path: Path, sources: Callable[[Path, Path], None]
) -> None:
    portal = tmp_path / "portal.html"
    portal.write_text("<html>Please log in</html>")
    sources(portal, packed(tmp_path / "package"))
    told: list[str] = []
    files = fetch_movielens(tmp_path / "data", told.append)
    assert files.events.read_text() == DATA
    assert any("ml-100k.zip: sha256" in line for line in told)
    sources(portal, packed(tmp_path / "other", DATA.replace("242", "243")))
    with pytest.raises(InputError, match=r"its publisher: ml-100k\.zip: sha256 .*; from the package .*: u\.data: sha"):
        fetch_movielens(tmp_path / "nothing", told.append)
    assert list((tmp_path / "nothing").iterdir()) == []


@pytest.mark.parametrize("error", [http.client.IncompleteRead(b"half"), TimeoutError("timed out")])
def test_a_download_that_breaks_off_is_taken_from_the_other_source(
    error: Exception, tmp_path: Path, sources: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(url: str, timeout: float) -> None:
        raise error

    sources(tmp_path / "whole.zip", packed(tmp_path / "package"))
    monkeypatch.setattr("urllib.request.urlopen", broken)
    assert fetch_movielens(tmp_path / "data", lambda _: None).catalogue.read_text("utf-8") == ITEMS


def test_files_that_are_whole_are_used_and_damaged_ones_fetched_again(
    tmp_path: Path, sources: Callable[[Path, Path], None]
) -> None:
    absent = tmp_path / "absent"
    sources(tmp_path / "whole.zip", absent)
    files = fetch_movielens(tmp_path / "data", lambda _: None)
    sources(absent, absent)
    assert fetch_movielens(tmp_path / "data", lambda _: None) == files
    files.users.write_text("cut o")
    with pytest.raises(InputError, match="or pass --data FILE"):
        fetch_movielens(tmp_path / "data", lambda _: None)
    sources(tmp_path / "whole.zip", absent)
    assert fetch_movielens(tmp_path / "data", lambda _: None).users.read_text() == USER


def test_the_package_tells_how_much_has_come(
    tmp_path: Path, sources: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movielens, "PACE_SECONDS", 0.01)
    sources(tmp_path / "absent", packed(tmp_path / "package"))
    told: list[str] = []
    fetch_movielens(tmp_path / "data", told.append)
    asked = next(place for place, line in enumerate(told) if "from the package" in line)
    assert told[asked + 1 :]
    assert all(re.fullmatch(r"\d+\.\d MB", line) for line in told[asked + 1 :])


def test_fetching_tells_how_much_has_come(
    tmp_path: Path, sources: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movielens, "PACE_SECONDS", 0)
    sources(tmp_path / "whole.zip", tmp_path / "absent")
    told: list[str] = []
    fetch_movielens(tmp_path / "data", told.append)
    assert told == ["fetching MovieLens 100K from its publisher", "0.0 MB of 0.0 MB"]
