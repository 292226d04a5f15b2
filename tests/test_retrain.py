"""A system is trained anew, and goes live only where it is not worse on what came last."""

import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from servers import PROGRAM
from test_update import told

import zhiyin
from zhiyin.app.loading import load_system
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.retrain import RetrainReport, Verdict, retrain, window
from zhiyin.app.train import TrainRequest
from zhiyin.artifacts.folder import current, read_manifest
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.intervals import Interval
from zhiyin.storage.opening import open_stores

USERS, GROUPS, ITEMS, SECONDS = 200, 4, 80, 1_000_000


def habits(start: int, n: int, seed: int) -> list[tuple[str, str, int]]:
    """A user takes from one of the groups of items."""
    rng = np.random.default_rng(seed)
    users, places = rng.integers(USERS, size=n), rng.integers(ITEMS // GROUPS, size=n)
    times = start + np.sort(rng.integers(SECONDS, size=n))
    columns = zip(users.tolist(), places.tolist(), times.tolist(), strict=True)
    return [(f"u{user}", f"i{user % GROUPS * (ITEMS // GROUPS) + place}", time) for user, place, time in columns]


def trained(tmp_path: Path, model: str) -> tuple[str, Path]:
    store, out = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "system"
    zhiyin.ingest(told(tmp_path, "before", habits(SECONDS, 1_000, 0)), store=store)
    zhiyin.train(store=store, out=out, model=model, preparation=PreparationSettings(encoders=()), seed=5)
    return store, out


def later(tmp_path: Path, store: str) -> None:
    zhiyin.ingest(told(tmp_path, "since", habits(2 * SECONDS, 500, 1)), store=store)


def retrained(store: str, out: Path, model: str) -> RetrainReport:
    return retrain(TrainRequest(store, out, model=model, seed=5))


def test_what_is_as_good_goes_live_and_says_how_it_was_judged(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ease")
    first = current(out).name
    later(tmp_path, store)
    report = retrained(store, out, "ease")
    assert report.verdict is not None
    assert report.verdict.passed
    assert report.training is not None
    assert report.manifest_id == report.training.manifest.manifest_id == current(out).name != first
    manifest = read_manifest(current(out))
    assert manifest.extra["gate"]["difference"]["n"] == report.verdict.difference.n > 50
    assert manifest.settings["encoders"] == []


def test_what_is_worse_stays_out(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ease")
    first = current(out).name
    later(tmp_path, store)
    report = retrained(store, out, "popularity")
    assert report.verdict is not None
    assert report.verdict.difference.high < 0 < report.verdict.chosen.mean < report.verdict.serving.mean
    assert (report.training, report.manifest_id, current(out).name) == (None, first, first)


def test_the_window_is_later_than_all_that_either_was_fitted_on(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "popularity")
    first = shutil.copytree(out, tmp_path / "first")
    trained_until = read_manifest(current(out)).data["now"]
    later(tmp_path, store)
    report = retrained(store, out, "popularity")
    data = prepare_dataset(store, PreparationSettings(encoders=()))
    split = window(load_system(first), data, 0)
    assert report.verdict is not None
    assert split is not None
    assert report.verdict.difference.n == len(split.holdout)
    assert split.train.histories.timestamps.max() > trained_until
    assert min(query.now for query in split.holdout.queries) > split.train.histories.timestamps.max()


def test_where_nothing_came_what_serves_stays(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "popularity")
    first = current(out).name
    assert retrained(store, out, "popularity") == RetrainReport(None, None, first, "nothing came in since")
    assert current(out).name == first


@pytest.mark.parametrize("damage", ["none", "cut"])
def test_where_nothing_serves_what_is_chosen_is_published(tmp_path: Path, damage: str) -> None:
    store, out = trained(tmp_path, "popularity")
    if damage == "cut":
        (current(out) / "model.safetensors").write_bytes(b"")
    else:
        out = tmp_path / "other"
    report = retrain(TrainRequest(store, out, model="ease", preparation=PreparationSettings(encoders=())))
    assert report.verdict is None
    assert report.training is not None
    assert current(out).name == report.manifest_id


def test_only_what_is_worse_by_more_than_chance_is_kept_out() -> None:
    level = Interval(0.1, 0.08, 0.12, 100)
    assert Verdict(level, level, Interval(-0.01, -0.03, 0.0, 100)).passed
    assert not Verdict(level, level, Interval(-0.02, -0.03, -0.01, 100)).passed
    assert Verdict(level, level, Interval(-0.3, -0.3, -0.3, 1)).passed


def test_where_data_was_lost_what_serves_stays_and_says_why(tmp_path: Path) -> None:
    store, out = trained(tmp_path, "ease")
    first = current(out).name
    with closing(open_stores(store)) as stores:
        for user in range(USERS // 2):
            stores.events.erase(f"u{user}")
    report = retrained(store, out, "popularity")
    assert (report.training, report.verdict, current(out).name) == (None, None, first)
    assert "zhiyin train" in report.why


def test_it_goes_on_by_itself_over_errors_until_it_is_stopped(tmp_path: Path) -> None:
    store, out = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "system"
    words = ["retrain", "--store", store, "--out", str(out), "--model", "popularity", "--every", "0"]
    with subprocess.Popen([str(PROGRAM), *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = ""
        while "there is no store" not in seen:
            assert process.poll() is None, seen
            seen += process.stdout.readline()
        zhiyin.ingest(told(tmp_path, "before", habits(SECONDS, 1_000, 0)), store=store)
        while "nothing came in since" not in seen:
            assert process.poll() is None, seen
            seen += process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
    assert "published popularity" in seen
    assert np.isfinite(read_manifest(current(out)).metrics["validation"]["ndcg@10"]["mean"])
