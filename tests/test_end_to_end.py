"""From a file of behaviour to lists, by the command line and by the Python API."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import zhiyin
from zhiyin.app.demo import DemoRequest, prepare_demo
from zhiyin.app.evaluate import EvaluateRequest, evaluate
from zhiyin.app.loading import load_system
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.recommend import BatchRequest, read_users, recommend_batch
from zhiyin.app.registry import make_model
from zhiyin.app.service import RecommendRequest, Service
from zhiyin.cli import application
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.errors import ArtifactError, ConfigError, InputError
from zhiyin.core.events import Events
from zhiyin.core.models import Silent
from zhiyin.retrieval.topn import top_n
from zhiyin.storage.opening import open_stores

USERS, ITEMS, EVENTS = 30, 20, 600


def command(*words: str | Path, status: int = 0) -> str:
    outcome = CliRunner().invoke(application, [str(word) for word in words])
    assert outcome.exit_code == status, f"{outcome.output}\n{outcome.exception!r}"
    return outcome.output


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    users = rng.integers(USERS, size=EVENTS)
    items = (users % 2) * (ITEMS // 2) + rng.integers(ITEMS // 2, size=EVENTS)
    events = folder / "events.csv"
    pl.DataFrame(
        {
            "user_id": [f"用户{row}" for row in users],
            "item_id": [f"i{row}" for row in items],
            "rating": rng.integers(1, 6, size=EVENTS),
            "timestamp": 1_700_000_000 + np.sort(rng.integers(10**6, size=EVENTS)),
        }
    ).write_csv(events)
    catalogue = folder / "items.csv"
    pl.DataFrame(
        {"item_id": [f"i{row}" for row in range(ITEMS)], "title": [f"电影 Film {row}" for row in range(ITEMS)]}
    ).write_csv(catalogue)
    return events, catalogue


@pytest.fixture(scope="module")
def trained(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    store, out = f"sqlite:///{folder / 'events.db'}", folder / "system"
    command("ingest", files[0], "--catalogue", files[1], "--store", store)
    shown = command("train", "--store", store, "--out", out, "--model", "ease")
    assert "published ease" in shown
    return store, out


def test_lists_leave_out_the_history_and_are_ranked(trained: tuple[str, Path], tmp_path: Path) -> None:
    store, out = trained
    users = tmp_path / "users.txt"
    users.write_text("\n".join(f"用户{row}" for row in range(USERS)), "utf-8")
    lists = tmp_path / "lists.parquet"
    command("recommend", "--store", store, "--artifact", out, "--users", users, "-k", "5", "--out", lists)
    table = pl.read_parquet(lists)
    assert table.columns == ["user_id", "item_id", "rank", "score"]
    assert table["user_id"].n_unique() == USERS
    for user, rows in table.group_by("user_id", maintain_order=True):
        stores = open_stores(store)
        history = set(stores.events.history(str(user[0]), 1000).item_id)
        stores.close()
        assert not history & set(rows["item_id"])
        assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
        assert rows["score"].is_sorted(descending=True)


def test_users_come_from_a_column_and_lists_go_to_a_table_or_the_screen(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    store, out = trained
    places = ("--store", store, "--artifact", out, "-k", "3")
    named = pl.DataFrame({"user_id": ["用户1", "用户2"], "seat": [4, 5]})
    named.write_csv(tmp_path / "users.csv")
    named.write_parquet(tmp_path / "users.parquet")
    command("recommend", *places, "--users", tmp_path / "users.csv", "--out", tmp_path / "lists.csv")
    command("recommend", *places, "--users", tmp_path / "users.parquet", "--out", tmp_path / "lists.parquet")
    lists = pl.read_csv(tmp_path / "lists.csv")
    assert lists["user_id"].to_list() == ["用户1"] * 3 + ["用户2"] * 3
    assert lists["item_id"].to_list() == pl.read_parquet(tmp_path / "lists.parquet")["item_id"].to_list()
    shown = command("recommend", *places, "--user", "用户1")
    assert all(item in shown for item in lists["item_id"][:3])
    (tmp_path / "others.csv").write_text("seat\n4\n")
    with pytest.raises(InputError, match="no column 'user_id', only seat"):
        read_users(tmp_path / "others.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_users(tmp_path / "absent.parquet")


def test_batch_lists_agree_with_single_answers(trained: tuple[str, Path]) -> None:
    store, out = trained
    users = [f"用户{row}" for row in range(USERS)]
    batch = recommend_batch(BatchRequest(store, out, users, 5))
    stores = open_stores(store)
    service = Service(load_system(out), stores)
    for user, each in zip(users, batch, strict=True):
        single = service.recommend(RecommendRequest(user, 5))
        assert [item.item_id for item in single.items] == [item.item_id for item in each.items]
    stores.close()


def test_what_users_tell_of_themselves_is_read_as_training_read_it(tmp_path: Path) -> None:
    store, out = f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "system"
    rng = np.random.default_rng(1)
    users = rng.integers(80, size=1500)
    items = (users % 2) * 10 + rng.integers(10, size=len(users))
    stores = open_stores(store)
    stores.events.append(
        Events.build(
            user_id=[f"u{row}" for row in users],
            item_id=[f"i{row}" for row in items],
            event="like",
            timestamp=list(range(len(users))),
        )
    )
    stores.catalog.upsert(
        Catalog.build(item_id=[f"i{row}" for row in range(20)], attributes={"origin": ["东"] * 10 + ["西"] * 10})
    )
    told = range(1, 80)  # u0 tells nothing
    attributes: dict[str, list[str | None]] = {
        "city": [("上海", "Wien")[row % 2] for row in told],
        "income": [None if row == 3 else str(1000.5 + 37 * row) for row in told],
    }
    stores.users.upsert(Users.build(user_id=[f"u{row}" for row in told], attributes=attributes))
    zhiyin.train(store=store, out=out, model="features", settings={"trees": 10}, validation="random")
    system = load_system(out)
    data = prepare_dataset(store, system.settings)
    assert [column.name for column in system.user_columns] == ["city=Wien", "city=上海", "income"]
    service = Service(system, stores)

    def listed(user: str) -> list[tuple[str, float]]:
        return [(item.item_id, item.score) for item in service.recommend(RecommendRequest(user, 20)).items]

    for row, user in enumerate(data.users.ids):
        query = data.query(row)
        served = system.query(stores.events.history(user, 1000), data.now, stores.users.attributes(user))
        assert query.user_features is not None
        np.testing.assert_array_equal(served.user_features, query.user_features)
        unseen = np.isin(np.arange(len(data.items)), query.history.items, invert=True)
        best = top_n(system.model.score([query]), 20, unseen)
        expected = [(data.items.ids[r], s) for r, s in zip(best.rows[0], best.scores[0], strict=True) if r >= 0]
        assert listed(user) == expected
    np.testing.assert_array_equal(system.query(Events.empty(), 0).user_features, np.zeros(3))

    before = listed("u4")
    stores.users.upsert(Users.build(user_id=["u4"], attributes={"city": ["Wien"], "income": ["not told"]}))
    moved = system.query(stores.events.history("u4", 1000), data.now, stores.users.attributes("u4"))
    np.testing.assert_array_equal(moved.user_features, [1, 0, 0])
    assert listed("u4") != before
    stores.close()


def test_an_unknown_user_gets_a_list_and_its_rung(trained: tuple[str, Path]) -> None:
    store, out = trained
    (answer,) = json.loads(
        command("recommend", "--store", store, "--artifact", out, "--user", "nobody", "--json", "-k", "3")
    )
    assert answer["rung"] == "popular"
    assert len(answer["items"]) == 3


def test_python_api_is_lazy_and_agrees(trained: tuple[str, Path]) -> None:
    store, out = trained
    answer = zhiyin.recommend("用户1", store=store, artifact=out, n=3)
    assert answer.user_id == "用户1"
    with zhiyin.load(out, store=store) as recommender:
        assert recommender.recommend("用户1", 3).items == answer.items
        assert recommender.service.manifest_id == answer.manifest_id
        everything = recommender.recommend("用户1", ITEMS, keep_seen=True)
        assert len(everything.items) == ITEMS
        assert not recommender.recommend("用户1", categories=["no such thing"]).items
        assert recommender.recommend("nobody", items=["i3"]).rung == "session"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zhiyin.nothing  # noqa: B018


def test_without_a_model_the_best_on_validation_is_published(files: tuple[Path, Path], tmp_path: Path) -> None:
    request = DemoRequest(tmp_path, files[0], files[1], lambda _: None, Silent(), lambda _: None)
    first = prepare_demo(request)
    assert first.trained is not None
    figures = [trial.validation for trial in first.trained.trials]
    assert figures == sorted(figures, reverse=True)
    assert {trial.model for trial in first.trained.trials} >= {"popularity", "ease", "attentive", "transformer"}
    assert load_system(first.artifact).manifest.components["main"]["model"] == first.trained.chosen.model
    again = prepare_demo(request)
    assert (again.imported, again.trained) == (None, None)
    assert again.artifact == first.artifact


def test_settings_come_from_a_file_and_wrong_ones_are_named(trained: tuple[str, Path], tmp_path: Path) -> None:
    store, _ = trained
    config = tmp_path / "settings.toml"
    config.write_text("[model]\nl2 = 7.0\n[preparation]\nhistory_limit = 9\n")
    out = tmp_path / "system"
    command("train", "--store", store, "--out", out, "--model", "ease", "--config", config)
    system = load_system(out)
    assert system.settings.history_limit == 9
    config.write_text("[colour]\n")
    outcome = CliRunner().invoke(application, ["train", "--store", store, "--out", str(out), "--config", str(config)])
    assert isinstance(outcome.exception, ConfigError)
    assert "colour" in str(outcome.exception)
    with pytest.raises(ConfigError, match="no 'magic' among the models"):
        make_model("magic")
    with pytest.raises(ConfigError, match="dim"):
        make_model("transformer", {"dim": -1})


def test_wrong_requests_say_what_to_do(trained: tuple[str, Path], tmp_path: Path) -> None:
    store, out = trained
    with pytest.raises(ArtifactError, match="zhiyin train"):
        load_system(tmp_path)
    with pytest.raises(InputError, match="at least one place"):
        recommend_batch(BatchRequest(store, out, ["a"], 0))
    outcome = CliRunner().invoke(application, ["recommend", "--store", store, "--artifact", str(out)])
    assert isinstance(outcome.exception, InputError)


@pytest.mark.parametrize(
    ("protocol", "models", "best"),
    [
        ("time", "popularity,ease,attentive", "ndcg@10"),
        ("leave-one-out", "popularity,ease", "ndcg@10"),
        ("cv", "biased-mf,attentive-ratings", "rmse"),
    ],
)
def test_evaluation_writes_a_leaderboard_and_a_page(
    protocol: str, models: str, best: str, trained: tuple[str, Path], tmp_path: Path
) -> None:
    words = ("evaluate", "--store", trained[0], "--protocol", protocol, "--models", models, "--report", tmp_path)
    shown = command(*words)
    assert "report" in shown
    board = json.loads((tmp_path / "leaderboard.json").read_text("utf-8"))
    assert {row["model"] for row in board["rows"]} == set(models.split(","))
    assert all(row["metrics"][best]["low"] <= row["metrics"][best]["high"] for row in board["rows"])
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")


def test_ratings_are_asked_of_the_twin_and_refused_of_models_that_only_rank(
    trained: tuple[str, Path], tmp_path: Path
) -> None:
    outcome = evaluate(EvaluateRequest(trained[0], tmp_path, "cv", ("attentive",), seed=1))
    (row,) = outcome.board.rows
    assert row.model == "attentive-ratings"
    assert len(row.config["folds"]) == 5
    with pytest.raises(InputError, match="'ease' predicts no ratings; there are attentive-ratings, biased-mf"):
        evaluate(EvaluateRequest(trained[0], tmp_path, "cv", ("ease",)))


def test_doctor_names_the_parts() -> None:
    assert "torch" in command("doctor")
