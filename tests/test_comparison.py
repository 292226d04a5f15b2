"""One honest comparison: what chooses has not seen the test, and training works on whatever data there is."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from zhiyin.app.budget import LATER, Budget
from zhiyin.app.comparison import ComparisonRequest, _preferred, compare, refit
from zhiyin.app.contenders import MIXTURES, contenders
from zhiyin.app.divisions import Divisions, divisions, possible_divisions
from zhiyin.app.evaluate import EvaluateRequest, evaluate
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.loading import load_system
from zhiyin.app.selection import Ranking, Selection, Trial, Verdict, best_fit, evaluated, share_of_the_chosen
from zhiyin.app.train import TrainRequest, train
from zhiyin.artifacts.folder import current, verify
from zhiyin.cli.show import Bars, choice, leaderboard
from zhiyin.core.arrays import FloatVector
from zhiyin.core.catalog import Users
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import ArtifactError, ConfigError, InputError
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import History
from zhiyin.core.models import Model, Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.models.linear import Linear
from zhiyin.testing.synthetic import dataset_of, planted_groups

PLAIN = PreparationSettings(encoders=())


def timed(n_users: int = 60) -> Dataset:
    """Taste groups with the users' events mixed over one period."""
    data = planted_groups(n_users).data
    times = np.sort(np.random.default_rng(1).integers(10**9, 10**11, len(data.histories.items)))
    mixed = times[np.argsort(np.argsort(data.histories.timestamps, kind="stable"), kind="stable")]
    return replace(data, histories=replace(data.histories, timestamps=mixed), now=int(mixed.max()))


def history_of(items: list[int], times: list[int]) -> History:
    return replace(History.of_items(items), timestamps=np.array(times, np.int64))


def test_the_choice_does_not_depend_on_the_test_part() -> None:
    data = timed()
    latest = np.flatnonzero(data.histories.timestamps >= np.quantile(data.histories.timestamps, 0.9))
    items, ratings = data.histories.items.copy(), data.histories.ratings.copy()
    items[latest] = np.random.default_rng(0).permutation(items[latest])
    ratings[latest] = 6 - ratings[latest]
    other = replace(data, histories=replace(data.histories, items=items, ratings=ratings))
    request = ComparisonRequest(
        models=("popularity", "ease", "item-neighbours", "features", "attentive"),
        settings={"features": {"trees": 10}, "attentive": {"epochs": 2}},
    )
    first, second = (compare(each, divisions(each, "time", 0), request) for each in (data, other))
    assert [(t.model, t.validation, t.config) for t in first.trials] == [
        (t.model, t.validation, t.config) for t in second.trials
    ]
    assert first.chosen.model == first.trials[0].model == first.board.chosen
    assert first.board.to_json() != second.board.to_json()
    figures = [trial.validation for trial in first.trials]
    assert figures == sorted(figures, reverse=True)


def test_a_model_that_refuses_the_data_is_left_out_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = timed()
    parts = divisions(data, "leave-one-out", 0)

    def refuse(*_: object) -> None:
        raise InputError("at most 3 items")

    monkeypatch.setattr("zhiyin.models.ease.Ease.fit", refuse)
    monkeypatch.setattr("zhiyin.app.contenders.candidates", lambda _: ("ease", "popularity"))
    for tested in (parts, replace(parts, test=None)):
        outcome = compare(data, tested, ComparisonRequest())
        assert {row.model for row in outcome.board.rows} == {trial.model for trial in outcome.trials} == {"popularity"}
        (note,) = outcome.parts.notes
        assert note.startswith("ease was left out: ")
        assert "at most 3" in note
    with pytest.raises(InputError, match="at most 3"):
        compare(data, parts, ComparisonRequest(models=("popularity", "ease")))
    monkeypatch.setattr("zhiyin.app.contenders.candidates", lambda _: ("ease",))
    with pytest.raises(InputError, match=r"no model takes this data\. ease was left out"):
        compare(data, parts, ComparisonRequest())


def few(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr("zhiyin.app.contenders.candidates", lambda _: names)


@pytest.mark.parametrize("name", MIXTURES)
def test_without_a_model_mixtures_of_all_compete_and_are_what_their_trials_say(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch, "popularity", "ease", "item-neighbours")
    data = timed()
    parts = divisions(data, "leave-one-out", 0)
    outcome = compare(data, parts, ComparisonRequest())
    assert {row.model for row in outcome.board.rows} == {"popularity", "ease", "item-neighbours", *MIXTURES}
    trials = {trial.model: trial for trial in outcome.trials}
    mixture = trials[name]
    assert set(mixture.config["parts"]) == set(mixture.config["weights"]) <= set(trials)
    for label, settings in mixture.config["parts"].items():
        assert settings == trials[label].config
    assert parts.test is not None
    anew = refit(mixture, parts.test.train, ComparisonRequest(), "again")
    rows = {row.model: row for row in outcome.board.rows}
    assert evaluated(anew, parts.test).means()["ndcg@10"] == pytest.approx(rows[name].metrics["ndcg@10"].mean)


def test_a_mixture_is_chosen_unless_one_model_is_surely_better(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "popularity", "ease", "item-neighbours")
    data = timed()
    parts = divisions(data, "leave-one-out", 0)
    lucky = np.random.default_rng(0).random(len(parts.validation.holdout))

    def told(ahead: np.ndarray) -> Callable[..., dict[str, Trial]]:
        def made(trials: dict[str, Trial], *_: object) -> dict[str, Trial]:
            best = max(trials.values(), key=lambda trial: trial.validation)
            users = best.users - ahead
            settings = {"parts": {best.model: best.config}, "weights": {best.model: (1.0, 1.0)}}
            blend = replace(best, model="blend", config=settings, validation=users.mean(), users=users)
            return {"blend": blend, "ranker": replace(blend, model="ranker", validation=users.mean() - 0.01)}

        return made

    monkeypatch.setattr("zhiyin.app.comparison.mixed", told(lucky - lucky.mean() + 0.01))
    outcome = compare(data, parts, ComparisonRequest())
    assert outcome.chosen.model == "blend"
    assert outcome.trials[0].model != "blend"
    assert any("not surely less: blend was chosen" in note for note in outcome.parts.notes)
    monkeypatch.setattr("zhiyin.app.comparison.mixed", told(lucky + 0.2))
    assert compare(data, parts, ComparisonRequest()).chosen.model == outcome.trials[0].model


def test_a_ranker_is_chosen_where_it_is_surely_better_than_the_blend_it_stands_over() -> None:
    users = np.random.default_rng(0).random(1_000)

    def trial(name: str, figures: FloatVector) -> Trial:
        return Trial(name, {}, float(figures.mean()), {}, 0.0, users=figures)

    def chosen(**figures: FloatVector) -> tuple[str, list[str]]:
        trials = sorted((trial(*each) for each in figures.items()), key=lambda each: -each.validation)
        found, notes = _preferred(trials, made=True)
        return found.model, [note.split()[0] for note in notes]

    luck = np.random.default_rng(1).standard_normal(1_000)
    luck += 0.03 - luck.mean()
    assert chosen(ease=users - 0.1, blend=users, ranker=users + luck) == ("blend", ["ranker"])
    assert chosen(ease=users - 0.1, blend=users, ranker=users + 0.03) == ("ranker", [])
    assert chosen(ease=users + 0.04, blend=users, ranker=users + 0.03) == ("ease", [])
    assert chosen(ease=users + luck, blend=users, ranker=users - 0.1) == ("blend", ["ease"])


@pytest.mark.parametrize("n_users", [1, 2])
def test_where_hardly_anybody_is_asked_models_compete_all_the_same(
    n_users: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch, "popularity", "item-neighbours")
    data = dataset_of([history_of([0, 1, 2, 3], [row, row + 3, row + 5, row + 9]) for row in range(n_users)], 5)
    outcome = compare(data, divisions(data, "leave-one-out", 0), ComparisonRequest())
    assert set(MIXTURES).issubset({trial.model for trial in outcome.trials}) == (n_users > 1)


def test_gradient_models_compete_reading_content_and_without_it() -> None:
    data = replace(timed(), rating_scale=None)
    entered = {each.label: each for each in contenders(data)}
    assert next(iter(entered)) == "popularity"
    assert entered["attentive"].encoders == entered["linear"].encoders == tuple(data.content)
    assert entered["attentive:ids"].encoders == ()
    assert "linear:ids" not in entered
    chosen = Trial("attentive", {"half_life_days": 7.0, "horizon": 2, "trust": 0.5, "encoders": ["told"]}, 0.1, {}, 1.0)
    within = entered["attentive:ids"].within(Selection(), {"attentive": chosen})
    assert within.settings == {"half_life_days": 7.0, "horizon": 2, "trust": 0.5, "encoders": ()}
    assert "attentive:ids" not in {each.label for each in contenders(replace(data, content={}))}


def test_what_the_time_does_not_reach_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "popularity", "ease")
    data = timed()
    outcome = compare(data, divisions(data, "leave-one-out", 0), ComparisonRequest(minutes=0.0))
    assert [trial.model for trial in outcome.trials] == ["popularity"]
    assert "ease was left out: the time was up." in outcome.parts.notes


def test_contenders_share_the_time_that_their_later_fits_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("zhiyin.app.budget.time.monotonic", lambda: now[0])
    budget = Budget(minutes=1.0)
    assert budget.until(1 / 2) == pytest.approx(100.0 + 60.0 / 2 / (1 + LATER))
    now[0] += 6.0
    budget.reserve(LATER * 6.0)
    assert budget.until(1) == pytest.approx(106.0 + (60.0 - 6.0 - LATER * 6.0) / (1 + LATER))
    assert budget.until(1, later=0.5) == pytest.approx(106.0 + (60.0 - 6.0 - LATER * 6.0) / 1.5)
    assert Budget(None).until(1 / 3) is None


SHORT = {"dim": 8, "epochs": 5}


@pytest.mark.parametrize("told", [Selection(settings=SHORT), Selection(fixed=SHORT)])
def test_a_training_without_time_is_of_one_epoch(told: Selection) -> None:
    data = timed()
    parts = divisions(data, "leave-one-out", 0)
    trial, _ = best_fit("attentive", parts.validation, replace(told, until=time.monotonic()))
    assert [entry["epoch"] for entry in trial.history] == [1]


class Slow(Silent):
    """Counts the epochs of each training; one takes ten seconds by the clock that it is given."""

    def __init__(self, now: list[float]) -> None:
        self.now, self.trained = now, Counter[str]()

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self.now[0] += 10.0
        self.trained[f"epoch {epoch}"] += 1


class SlowToJudge(Ranking):
    def __init__(self, now: list[float]) -> None:
        self.now = now

    def judge(self, model: Model, split: Split, seed: int) -> Verdict:
        self.now[0] += 5.0
        return super().judge(model, split, seed)


def test_where_time_is_short_the_better_half_of_the_settings_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    for clock in ("zhiyin.app.selection.time.monotonic", "zhiyin.training.loop.time.monotonic"):
        monkeypatch.setattr(clock, lambda: now[0])
    data, course = timed(), Slow(now)
    parts = divisions(data, "leave-one-out", 0)
    fixed = {"dim": 8, "epochs": 100, "patience": 0}
    selection = Selection(until=480.0, fixed=fixed, progress=course, goal=SlowToJudge(now))
    trial, _ = best_fit("attentive", parts.validation, selection)
    whole = len(trial.history)
    assert [course.trained[f"epoch {epoch}"] for epoch in (1, whole)] == [4, 1]
    assert {2, 4} <= set(course.trained.values())
    assert whole > 480 / 10 / 4
    assert share_of_the_chosen("attentive", selection) == pytest.approx(1 / 12 + 2 / 12 + 4 / 12)
    assert share_of_the_chosen("linear", Selection()) == pytest.approx(1 / len(Linear.search))
    assert [entry["epoch"] for entry in trial.history] == list(range(1, whole + 1))


def test_the_board_tells_who_reads_the_person_and_for_whom_it_works() -> None:
    data = timed()
    people = Users.build(
        user_id=list(data.users.ids[::-1]), attributes={"side": ["left", "right"] * (len(data.users) // 2)}
    )
    request = ComparisonRequest(models=("popularity", "ease"), people=people)
    outcome = compare(data, divisions(data, "leave-one-out", 0), request)
    rows = {row.model: row for row in outcome.board.rows}
    assert rows["popularity"].control is None
    assert rows["popularity"].different is not None
    assert rows["popularity"].different.lists == 1
    assert rows["ease"].control is not None
    assert rows["ease"].control.test.p < 0.01
    assert rows["ease"].validation is not None
    kinds = {part.kind: part for parts in outcome.parts.slices.values() for part in parts}
    assert {"History length", "Next item's popularity", "side"} <= set(kinds)
    assert kinds["side"].label == "right"
    assert set(outcome.parts.slices) == {"ease", "popularity"}


def test_users_at_random_are_three_groups_apart() -> None:
    data = timed()
    parts = divisions(data, "random", 4)
    assert parts.test is not None
    validating, testing = set(parts.validation.holdout.users), set(parts.test.holdout.users)
    learning = set(np.flatnonzero(parts.validation.train.histories.lengths))
    assert validating
    assert testing
    assert not validating & testing
    assert not learning & (validating | testing)
    assert not testing & set(np.flatnonzero(parts.test.train.histories.lengths))


def test_where_a_protocol_has_no_room_the_next_best_is_taken_and_said() -> None:
    data = timed()
    untimed = replace(data.histories, timestamps=np.full(len(data.histories.items), MISSING_TIME, np.int64))
    parts = possible_divisions(replace(data, histories=untimed), "time", 0)
    assert parts is not None
    assert parts.test is not None
    assert "leave-one-out" in parts.words
    assert "timestamp" in parts.notes[0]
    with pytest.raises(InputError, match="timestamp"):
        divisions(replace(data, histories=untimed), "time", 0)
    with pytest.raises(InputError, match="unknown protocol"):
        possible_divisions(data, "moon", 0)


def test_where_few_have_a_next_event_everybodys_last_one_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    data = timed()
    few = possible_divisions(data, "next", 0)
    assert few is not None
    assert few.protocol == "leave-one-out"
    by_next, by_last = (asked(divisions(data, protocol, 0)) for protocol in ("next", "leave-one-out"))
    assert few.notes == (f"No test next: it asks {by_next} users, leave-one-out {by_last}.",)
    monkeypatch.setattr("zhiyin.app.divisions.ASKED", 10)
    enough = possible_divisions(data, "next", 0)
    assert enough is not None
    assert enough.protocol == "next"
    assert enough.notes == ()
    assert "what came before it known" in enough.words


def test_of_many_users_some_are_asked_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.app.divisions.MOST_ASKED", 8)
    data = timed()
    first, again, other = (possible_divisions(data, "leave-one-out", seed) for seed in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    everybody = divisions(data, "leave-one-out", 0).validation.holdout.users
    assert asked(first) == 8
    assert set(first.validation.holdout.users) < set(everybody)
    np.testing.assert_array_equal(first.validation.holdout.users, again.validation.holdout.users)
    assert set(first.validation.holdout.users) != set(other.validation.holdout.users)
    assert first.notes[0] == f"Validation asks 8 of {len(everybody)} users, drawn at random."


def asked(parts: Divisions) -> int:
    assert parts.test is not None
    return min(len(parts.validation.holdout), len(parts.test.holdout))


def test_without_room_for_a_test_validation_alone_is_shown_and_said() -> None:
    """Whoever comes back does so between 80 % and 90 % of the events; the rest are newcomers with one event each."""
    histories = [history_of([0, 1], [row, 80 + row]) for row in range(9)]
    histories += [history_of([time % 5], [time]) for time in (*range(9, 80), *range(89, 100))]
    data = dataset_of(histories, 5)
    parts = possible_divisions(data, "time", 0)
    assert parts is not None
    assert parts.test is None
    outcome = compare(data, parts, ComparisonRequest(models=("popularity", "item-neighbours")))
    assert not outcome.tested
    assert "validation" in outcome.board.protocol
    assert all(row.test is None for row in outcome.board.rows)
    assert len(outcome.parts.notes) == 2
    lonely = dataset_of([history_of([0], [1]), history_of([1], [2])], 2)
    assert possible_divisions(lonely, "random", 0) is None


def store_of(tmp_path: Path, lines: list[str]) -> str:
    events = tmp_path / "events.csv"
    events.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    store = f"sqlite:///{tmp_path / 'events.db'}"
    ingest(IngestRequest(events=[events], store=store))
    return store


def test_a_handful_of_events_is_trained_on_all_the_same(tmp_path: Path) -> None:
    store = store_of(tmp_path, ["a,x,1700000000", "a,y,1700000000", "b,x,1700000000"])
    report = train(TrainRequest(store=store, out=tmp_path / "system", preparation=PLAIN))
    assert report.chosen.model == "popularity"
    assert "Too little data" in report.notes[0]
    page = report.page.read_text("utf-8")
    assert "Too little data" in page
    system = load_system(tmp_path / "system")
    assert system.manifest.metrics["test"] is None
    screen = Console(file=io.StringIO(), width=120)
    leaderboard(report.board, screen)
    choice(report.board, screen)


def test_one_model_is_tested_against_popularity_and_published_whatever_its_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"u{rng.integers(25)},i{int(rng.zipf(1.6)) % 30},{1_700_000_000 + 900 * row}" for row in range(500)]
    store, out = store_of(tmp_path, lines), tmp_path / "system"
    steps: list[str] = []
    request = TrainRequest(store=store, out=out, model="ease", preparation=PLAIN, announce=steps.append)
    report = train(request)
    assert {row.model for row in report.board.rows} == {"ease", "popularity"}
    assert report.chosen.model == "ease" == report.board.chosen
    version, manifest = current(out), load_system(out).manifest
    assert manifest.components["main"]["model"] == "ease"
    assert set(manifest.metrics["test"]) == set(manifest.metrics["validation"])
    tested = report.board.main.metrics["ndcg@10"]
    assert manifest.metrics["test"]["ndcg@10"]["mean"] == tested.mean
    assert json.loads((version / "leaderboard.json").read_text("utf-8"))["chosen"] == "ease"
    assert "<svg" in report.page.read_text("utf-8")
    assert steps[-1] == "ease, refitting on everything"
    report.page.write_text("changed")
    with pytest.raises(ArtifactError, match=r"report\.html"):
        verify(version, manifest)
    with pytest.raises(ConfigError, match="--model"):
        train(replace(request, model=None, settings={"l2": 3.0}))


class Course:
    """Epochs as they are finished; ends the program, the way a kill does, at one that is too many."""

    def __init__(self, most: int = 1000) -> None:
        self.epochs: list[int] = []
        self.most = most

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if len(self.epochs) == self.most:
            raise KeyboardInterrupt
        self.epochs.append(epoch)

    def batch(self, done: int, total: int, loss: float) -> None:
        return


@pytest.mark.parametrize(("protocol", "model"), [("time", "attentive"), ("cv", "attentive-ratings")])
def test_an_evaluation_that_was_broken_off_trains_on_from_where_it_was(
    protocol: str, model: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    lines = [f"u{rng.integers(9)},i{rng.integers(8)},{rng.integers(1, 6)},{9000 * row}" for row in range(120)]
    events = tmp_path / "events.csv"
    events.write_text("\n".join(["user_id,item_id,rating,timestamp", *lines]) + "\n")
    store, report = f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "report"
    ingest(IngestRequest(events=[events], store=store))
    request = EvaluateRequest(store, report, protocol, (model,), PLAIN)
    whole, broken, resumed = Course(), Course(5), Course()
    expected = evaluate(replace(request, report=tmp_path / "whole", progress=whole))
    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(request, progress=broken))
    found = evaluate(replace(request, progress=resumed))
    assert broken.epochs + resumed.epochs == whole.epochs
    assert [(row.config, row.metrics) for row in found.board.rows] == [
        (row.config, row.metrics) for row in expected.board.rows
    ]
    assert sorted(path.name for path in report.iterdir()) == ["leaderboard.json", "report.html"]


def test_a_terminal_shows_a_bar_for_the_training_and_a_file_one_line() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    plain = Console(file=io.StringIO(), width=120)
    for console in (terminal, plain):
        with Bars(console) as bars:
            bars.begin("attentive, choosing settings")
            bars.batch(1, 4, 0.75)
            bars.epoch(1, 20, {"loss": 0.5, "validation": 0.125})
            bars.batch(4, 4, 0.25)
            bars.begin("ease, choosing settings")
    shown, written = (console.file.getvalue() for console in (terminal, plain))  # type: ignore[attr-defined]
    for part in ("attentive, choosing settings", "epoch 1/20", "loss 0.5000", "validation 0.1250"):
        assert part in shown
    assert written == "attentive, choosing settings\nease, choosing settings\n"
