"""A search of settings that goes on where it was, looks at validation alone, and ends in a file that trains."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

import zhiyin
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.loading import load_system
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Ranking, Selection, best_trial, validation_split
from zhiyin.app.tune import TuneRequest, _Watched, tune
from zhiyin.cli import application
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.models import ExplorableModel
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.testing.synthetic import planted_groups

PLAIN = PreparationSettings(encoders=())


@pytest.fixture
def request_of(tmp_path: Path) -> TuneRequest:
    rng = np.random.default_rng(0)
    lines = [f"u{rng.integers(30)},i{int(rng.zipf(1.6)) % 30},{1_700_000_000 + 900 * row}" for row in range(600)]
    events = tmp_path / "events.csv"
    events.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    store = f"sqlite:///{tmp_path / 'events.db'}"
    ingest(IngestRequest(events=[events], store=store))
    return TuneRequest(store, "item-neighbours", tmp_path / "search", minutes=5, trials=3, preparation=PLAIN)


def test_a_search_goes_on_where_it_was_and_never_gets_worse(request_of: TuneRequest) -> None:
    steps: list[str] = []
    first = tune(replace(request_of, announce=steps.append))
    assert first.finished == len(steps) == 3
    assert first.figure >= first.defaults
    second = tune(replace(request_of, trials=2, announce=steps.append))
    assert second.finished == 5
    assert steps[3].startswith("trial 4: weighting ")
    assert second.figure >= first.figure
    assert second.defaults == first.defaults
    assert type(make_model("item-neighbours")).Config(**second.settings)


def test_the_first_trial_is_of_the_defaults(request_of: TuneRequest) -> None:
    report = tune(replace(request_of, trials=1))
    assert report.settings == make_model("item-neighbours").config.model_dump(mode="json")
    assert report.figure == report.defaults


def test_what_was_found_trains(request_of: TuneRequest, tmp_path: Path) -> None:
    words = ["tune", "--store", request_of.store, "--model", "popularity", "--out", str(tmp_path / "none")]
    refused = CliRunner().invoke(application, words)
    assert isinstance(refused.exception, ConfigError)
    config = tmp_path / "settings.toml"
    config.write_text("[preparation]\nencoders = []\n")
    words = ["tune", "--store", request_of.store, "--model", "ease", "--trials", "2", "--json", "--config", str(config)]
    outcome = CliRunner().invoke(application, [*words, "--out", str(tmp_path / "found")])
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    out = tmp_path / "system"
    words = ["train", "--store", request_of.store, "--out", str(out), "--model", "ease", "--config", told["path"]]
    assert CliRunner().invoke(application, words).exit_code == 0
    assert load_system(out).manifest.components["main"]["config"] == told["settings"]


def test_a_model_without_a_space_and_too_little_data_are_refused(
    request_of: TuneRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no space of settings"):
        tune(replace(request_of, model="profile"))
    events = tmp_path / "few.csv"
    events.write_text("user_id,item_id,timestamp\na,x,1700000000\nb,y,1700000000\n")
    store = f"sqlite:///{tmp_path / 'few.db'}"
    ingest(IngestRequest(events=[events], store=store))
    with pytest.raises(InputError, match="too little data"):
        zhiyin.tune(store=store, model="ease", out=tmp_path / "few", preparation=PLAIN)
    monkeypatch.setattr("zhiyin.app.tune.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"zhiyin\[tune\]"):
        tune(request_of)


class Told:
    """A trial that is to be broken off at its third report."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, int]] = []

    def report(self, value: float, step: int) -> None:
        self.reports.append((value, step))

    def should_prune(self) -> bool:
        return len(self.reports) == 3


def test_a_training_that_falls_behind_is_broken_off() -> None:
    data = planted_groups().data
    split = validation_split(data, "leave-one-out", 0)
    trial: Any = Told()
    goal = _Watched(Ranking(), trial)
    with pytest.raises(optuna.TrialPruned):
        best_trial("attentive", split, Selection(settings={"dim": 8, "epochs": 9}, goal=goal))
    assert [step for _, step in trial.reports] == [1, 2, 3]


@pytest.mark.parametrize("name", ["attentive", "transformer", "linear", "als", "user-neighbours", "content"])
def test_models_have_spaces(name: str) -> None:
    assert isinstance(make_model(name), ExplorableModel)
