"""What came in since is folded into a published system, and told."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import zhiyin
from zhiyin.app.loading import load_system
from zhiyin.app.update import UpdateReport, UpdateRequest, update
from zhiyin.artifacts.folder import current, read_manifest, verify
from zhiyin.cli import application
from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import History
from zhiyin.core.models import Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.intervals import Interval
from zhiyin.models.ranker import Ranker

SECONDS = 10**6
USERS, ITEMS, EVENTS = 30, 16, 500


class Epochs(Silent):
    def __init__(self) -> None:
        self.trained: list[tuple[int, int]] = []

    def epoch(self, epoch: int, epochs: int, metrics: object) -> None:
        self.trained.append((epoch, epochs))


def told(folder: Path, name: str, rows: list[tuple[str, str, int]]) -> Path:
    path = folder / f"{name}.csv"
    columns = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(path)
    return path


def habits(start: int, n: int, seed: int) -> list[tuple[str, str, int]]:
    """Half of the people take from one half of the items each."""
    rng = np.random.default_rng(seed)
    users, places = rng.integers(USERS, size=n), rng.integers(ITEMS // 2, size=n)
    times = start + np.sort(rng.integers(SECONDS, size=n))
    columns = zip(users.tolist(), places.tolist(), times.tolist(), strict=True)
    return [(f"u{user}", f"i{user % 2 * (ITEMS // 2) + place}", time) for user, place, time in columns]


def trained(tmp_path: Path, model: str, **settings: object) -> tuple[str, Path]:
    store, out = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "system"
    zhiyin.ingest(told(tmp_path, "before", habits(SECONDS, EVENTS, 0)), store=store)
    plain = PreparationSettings(encoders=())
    zhiyin.train(store=store, out=out, model=model, settings=settings, preparation=plain, seed=5)
    return store, out


def test_what_came_since_is_folded_in_and_told(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ease")
    first = read_manifest(current(out))
    later = [("guest", "i0", 3 * SECONDS), ("guest", "i1", 3 * SECONDS + 1), ("u0", "fresh", 3 * SECONDS + 2)]
    zhiyin.ingest(told(tmp_path, "after", [*habits(2 * SECONDS, 17, 1), *later]), store=store)
    report = zhiyin.update(store=store, out=out)
    assert report.manifest is not None
    drift = report.drift
    assert drift.events == 20
    assert drift.share == pytest.approx(20 / (EVENTS + 20))
    assert drift.newcomers == pytest.approx(2 / 20)
    assert drift.new_items == pytest.approx(1 / 20)
    assert 0 < drift.usual < 1
    assert report.found is not None
    version = current(out)
    assert version.name == report.manifest.manifest_id
    verify(version, report.manifest)
    assert report.manifest.extra["update"]["of"] == first.manifest_id
    assert report.manifest.components == first.components
    system = load_system(out)
    assert "fresh" in system.items
    assert (version / "report.html").exists()
    assert [line.item_id for line in zhiyin.recommend("guest", store=store, artifact=out, n=3).items]


def test_where_nothing_came_the_version_stays(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "popularity")
    before = current(out)
    report = zhiyin.update(store=store, out=out)
    assert (report.manifest, report.found, report.drift.events) == (None, None, 0)
    assert current(out) == before


def test_a_network_goes_on_for_the_share_of_its_epochs_that_is_new(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "transformer", dim=8, length=8, layers=1, learning_rate=5e-3, epochs=12)
    told_epochs = read_manifest(current(out)).components["main"]["config"]["epochs"]
    assert told_epochs > 4
    zhiyin.ingest(told(tmp_path, "after", habits(2 * SECONDS, EVENTS // 3, 1)), store=store)
    epochs = Epochs()
    report = update(UpdateRequest(store, out, progress=epochs))
    assert report.manifest is not None
    assert epochs.trained[-1] == (round(told_epochs / 4), round(told_epochs / 4))
    assert report.manifest.components["main"]["config"]["epochs"] == told_epochs


def test_a_ranker_keeps_what_it_learned_while_its_parts_go_on(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ranker", parts={"ease": {}, "popularity": {}})
    before = load_system(out).model
    assert isinstance(before, Ranker)
    assert before.learned()
    zhiyin.ingest(told(tmp_path, "after", [*habits(2 * SECONDS, 50, 1), ("u0", "fresh", 4 * SECONDS)]), store=store)
    zhiyin.update(store=store, out=out)
    after = load_system(out).model
    assert isinstance(after, Ranker)
    np.testing.assert_array_equal(after.learned()["ranker.trees"], before.learned()["ranker.trees"])
    assert after.score([Query(History.of_items([0]), 0)]).shape == (1, ITEMS + 1)


def test_the_command_says_how_far_it_drifted(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ease")
    words = ["update", "--store", store, "--out", str(out)]
    assert "nothing came in since" in CliRunner().invoke(application, words).output
    zhiyin.ingest(told(tmp_path, "after", habits(2 * SECONDS, 100, 1)), store=store)
    shown = CliRunner().invoke(application, words)
    assert shown.exit_code == 0, shown.output
    assert "100 events since" in shown.output
    assert f"published ease as {current(out).name}" in shown.output
    as_json = json.loads(CliRunner().invoke(application, [*words, "--json"]).stdout)
    assert as_json["manifest"] is None
    assert as_json["drift"]["events"] == 0


def test_answers_worse_than_the_test_are_told() -> None:
    drift: object = None
    good, bad = Interval(0.3, 0.28, 0.32, 90), Interval(0.2, 0.18, 0.22, 90)
    assert UpdateReport(drift, bad, good, "ease", None).worse  # type: ignore[arg-type]
    assert not UpdateReport(drift, good, bad, "ease", None).worse  # type: ignore[arg-type]
    assert not UpdateReport(drift, bad, None, "ease", None).worse  # type: ignore[arg-type]


def test_a_system_that_does_not_say_when_it_was_trained_is_trained_again(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "popularity")
    path = current(out) / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    del manifest["data"]["now"]
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtifactError, match="train again"):
        zhiyin.update(store=store, out=out)
