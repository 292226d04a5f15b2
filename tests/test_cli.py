"""The command line as a shell sees it: what is printed where, and the status."""

import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from databases import Server
from typer.testing import CliRunner

from zhiyin.app.loading import load_system
from zhiyin.cli import application, main
from zhiyin.core.errors import ArtifactError, ConfigError, InputError, ZhiyinError


def command(*words: str | Path, status: int = 0) -> str:
    outcome = CliRunner().invoke(application, [str(word) for word in words])
    assert outcome.exit_code == status, f"{outcome.output}\n{outcome.exception!r}"
    return outcome.stdout


def items(told: str) -> list[str]:
    return [item["item_id"] for each in json.loads(told) for item in each["items"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    lines = [
        f"u{user},i{(user * 7 + step * (1 + user % 3)) % 12},{1_700_000_000 + user + 50 * step}"
        for step in range(8)
        for user in range(25)
    ]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines), "utf-8")
    store, out = f"sqlite:///{folder / 'events.db'}", folder / "system"
    command("ingest", folder / "events.csv", "--store", store)
    command("train", "--store", store, "--out", out, "--model", "popularity")
    return store, out


def test_a_shop_in_postgres_is_named_by_the_environment(
    trained: tuple[str, Path], postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZHIYIN_STORE", postgres.new())
    events = Path(trained[0].removeprefix("sqlite:///")).with_name("events.csv")
    (tmp_path / "more.csv").write_text("user_id,item_id\n,i1\n", "utf-8")
    command("ingest", events, "more.csv")
    assert len(list(tmp_path.glob("zhiyin_*.refused.csv"))) == 1
    command("train", "--out", "system", "--model", "popularity")
    words = ("recommend", "--user", "u3", "-k", "3", "--json")
    assert items(command(*words, "--artifact", "system")) == items(
        command(*words, "--store", trained[0], "--artifact", trained[1])
    )


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    store = ("--store", f"sqlite:///{tmp_path / 'shop.db'}")
    written = command("keys", "create", *store, "--scope", "read", "--scope", "ingest", "--note", "the shop").strip()
    (key,) = json.loads(command("keys", "list", *store, "--json"))
    assert written.startswith(f"zy-{key['key_id']}-")
    assert (key["scopes"], key["note"], key["expires"], key["revoked"]) == (["read", "ingest"], "the shop", None, False)
    assert json.loads(command("keys", "list", *store, "--tenant", "other", "--json")) == []
    assert "revoked" in command("keys", "revoke", *store, key["key_id"])
    assert "revoked" in command("keys", "list", *store)
    assert (
        CliRunner().invoke(application, ["keys", "create", *store, "--scope", "read", "--days", "99999999"]).exit_code
    )
    assert json.loads(command("keys", "list", *store, "--json"))
    for words in (("revoke", *store, key["key_id"]), ("create", *store, "--scope", "all")):
        assert isinstance(CliRunner().invoke(application, ["keys", *words]).exception, ZhiyinError)


def test_a_training_is_told_as_json_and_nothing_else(trained: tuple[str, Path], tmp_path: Path) -> None:
    words = ("train", "--store", trained[0], "--out", tmp_path / "system", "--model", "popularity", "--json")
    report = json.loads(command(*words))
    assert report["manifest_id"] == load_system(tmp_path / "system").manifest.manifest_id
    assert (report["model"], report["users"], report["items"]) == ("popularity", 25, 12)
    assert [row["model"] for row in report["leaderboard"]["rows"]] == ["popularity"]
    assert Path(report["report"]).is_file()


@pytest.mark.parametrize("name", ["serve", "train", "evaluate", "tune", "finetune"])
def test_help_names_the_tables_of_a_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert re.search(r"TOML.* \[(serving|preparation)\]", command(name, "--help"))


def test_commands_that_train_nothing_go_without_what_trains() -> None:
    told = "import sys, zhiyin.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


def test_doctor_tells_the_parts_and_fails_where_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(command("doctor", "--json"))
    assert found["packages"]["torch"]
    monkeypatch.setattr(sys.modules["zhiyin.cli.doctor"], "PACKAGES", ("numpy", "no-such-package"))
    assert json.loads(command("doctor", "--json", status=1))["packages"]["no-such-package"] is None
    assert "missing" in command("doctor", status=1)


def test_settings_of_the_environment_stand_over_those_of_the_file(
    trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[preparation]\nhistory_limit = 9\nmin_user_events = 2\n")
    monkeypatch.setenv("ZHIYIN_PREPARATION__HISTORY_LIMIT", "7")
    words = ("train", "--store", trained[0], "--out", tmp_path / "system", "--model", "popularity")
    command(*words, "--config", config)
    settings = load_system(tmp_path / "system").settings
    assert (settings.history_limit, settings.min_user_events) == (7, 2)
    command(*words)
    assert load_system(tmp_path / "system").settings.history_limit == 7
    monkeypatch.setenv("ZHIYIN_MODEL__L2", "7")
    outcome = CliRunner().invoke(application, ["evaluate", "--store", trained[0], "--report", str(tmp_path)])
    assert isinstance(outcome.exception, ConfigError)


def test_networks_are_trained_where_flag_or_environment_says(
    trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "--store", trained[0], "--out", tmp_path / "system", "--model", "popularity")
    monkeypatch.setenv("ZHIYIN_DEVICE", "abacus")
    for device, said in (((), "abacus"), (("--device", "cuda:99"), "cuda:99")):
        outcome = CliRunner().invoke(application, [*map(str, words), *device])
        assert isinstance(outcome.exception, ConfigError)
        assert f"device {said!r}: PyTorch cannot use it" in str(outcome.exception)
    command(*words, "--device", "cpu")
    command("update", "--store", trained[0], "--out", tmp_path / "system", "--device", "cpu")


def test_one_tenant_is_trained_and_asked_apart_from_the_others(trained: tuple[str, Path], tmp_path: Path) -> None:
    store = ("--store", f"sqlite:///{tmp_path / 'two.db'}", "--tenant", "other")
    events = Path(trained[0].removeprefix("sqlite:///")).with_name("events.csv")
    command("ingest", events, *store[:2])
    (tmp_path / "others.csv").write_text(re.sub(r",i(\d)", r",other\1", events.read_text("utf-8")), "utf-8")
    command("ingest", tmp_path / "others.csv", *store)
    out = tmp_path / "system"
    command("train", *store, "--out", out, "--model", "popularity")
    asked = ("recommend", *store, "--artifact", out, "--user", "u3", "-k", "3", "--json")
    assert all(item.startswith("other") for item in items(command(*asked)))
    assert "nothing came in since" in command("update", *store, "--out", out)
    assert "nothing came in since" in command("retrain", *store, "--out", out, "--model", "popularity")


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[str]:
    """The lines on the error stream of a command that fails on purpose."""
    monkeypatch.setattr(sys, "argv", ["zhiyin", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err.splitlines()


def test_an_error_made_on_purpose_is_one_line_and_status_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained: tuple[str, Path], tmp_path: Path
) -> None:
    store, out = trained
    places = ("--store", store, "--artifact", out, "--user", "u1")
    config = tmp_path / "settings.toml"
    config.write_text("[preparation]\nhistory_limt = 9\nmin_user_events = 0\n")
    (tmp_path / "loose.toml").write_text("history_limit = 9\n")
    for words, said in (
        (("recommend", "--store", "mysql://x", "--artifact", out, "--user", "u"), "sqlite:///path.db"),
        (("recommend", "--store", store, "--artifact", tmp_path / "no", "--user", "u"), "run 'zhiyin train"),
        (("recommend", *places, "--out", tmp_path / "nodir" / "x.parquet"), "create it first"),
        (("recommend", *places, "--out", tmp_path / "x.json"), ".parquet or .csv"),
        (("recommend", *places, "--out", tmp_path), "choose one of these endings"),
        (("train", "--store", f"sqlite:///{tmp_path}/typo.db", "--out", tmp_path), "'zhiyin ingest' makes one"),
        (("recommend", "--store", f"sqlite:///{tmp_path}/typo.db", *places[2:]), "there is no store"),
        (("backup", "--store", f"sqlite:///{tmp_path}/typo.db", "--out", tmp_path / "kept.zip"), "there is no store"),
        (("train", "--store", store, "--out", tmp_path, "--tenant", "nobody"), "no events of the tenant 'nobody'"),
        (("demo", "--data", tmp_path / "missing.csv", "--home", tmp_path / "home"), "no such file"),
        (("train", "--store", store, "--out", tmp_path, "--config", tmp_path / "no.toml"), "no.toml"),
        (("train", "--store", store, "--out", tmp_path, "--config", config), "history_limt: Extra inputs"),
        (("train", "--store", store, "--out", tmp_path, "--config", tmp_path / "loose.toml"), "stands in no table"),
    ):
        (line,) = ended(monkeypatch, capsys, *words)
        assert line.startswith("zhiyin: ")
        assert said in line
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "typo.db").exists()


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained: tuple[str, Path], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("serve", "--store", trained[0], "--artifact", tmp_path / "nothing", "--port", port)
        (line,) = ended(monkeypatch, capsys, *words)
    assert f"port {port}" in line
    assert "--port" in line


def test_lists_that_cannot_be_written_are_not_logged_as_shown(trained: tuple[str, Path], tmp_path: Path) -> None:
    store, out = trained

    def shown() -> int:
        with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute("SELECT count(*) FROM shown_lists").fetchone()[0])

    words = ("recommend", "--store", store, "--artifact", out, "--user", "u1", "-k", "3", "--out")
    before = shown()
    refused = CliRunner().invoke(application, [*map(str, words), str(tmp_path / "nodir" / "x.csv")])
    assert isinstance(refused.exception, InputError)
    assert shown() == before
    command(*words, tmp_path / "x.csv")
    assert shown() == before + 1


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("settings", "half_live"), 3, "half_live: Extra inputs are not permitted"),
        (("components", "main", "config", "colour"), "red", "colour"),
        (("components", "main", "model"), "magic", "no 'magic' among the models"),
    ],
)
def test_a_manifest_of_another_program_says_what_it_holds(
    place: tuple[str, ...], value: object, said: str, trained: tuple[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(trained[1], tmp_path / "system")
    path = next((tmp_path / "system").glob("*/manifest.json"))
    manifest = json.loads(path.read_text("utf-8"))
    part = manifest
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtifactError, match="train again") as refused:
        load_system(tmp_path / "system")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
