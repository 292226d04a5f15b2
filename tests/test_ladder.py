"""What a user is answered from, by how much is known of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from doubles import FILMS, NOW, MemoryStores, films_stores, films_system

from zhiyin.app.loading import load_system
from zhiyin.app.registry import make_model
from zhiyin.app.service import RecommendRequest, Service
from zhiyin.app.system import System
from zhiyin.app.train import TrainRequest, train
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import FeatureColumn, Features, Query
from zhiyin.core.events import Events
from zhiyin.core.histories import History
from zhiyin.core.models import Model, Run
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.storage.opening import open_stores
from zhiyin.testing.synthetic import START, dataset_of
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics
from zhiyin.web.application import create_app

COLUMNS = (FeatureColumn("city", "Wien"), FeatureColumn("city", "Graz"), FeatureColumn("age", None, 40.0, 10.0))
IDS = [film[0] for film in FILMS]
RUN = Run(PlainTrainer(), PlainStatistics())
TOTORO, MOOD = IDS.index("totoro"), IDS.index("mood")


def profile_of(liked: Sequence[tuple[str, int]], n_items: int, prior: float = 1.0) -> Model:
    """Learned from users of whom the city is known and one item that they like."""
    cities = [column.value for column in COLUMNS]
    matrix = np.array([[city == value for value in cities] for city, _ in liked], np.float32)
    features = Features(tuple(column.name for column in COLUMNS), matrix, COLUMNS)
    data = dataset_of([History.of_items([item]) for _, item in liked], n_items, user_features=features)
    model = make_model("profile", {"prior": prior})
    model.fit(data, RUN)
    return model


def asked(*features: float) -> Query:
    return Query(History.of_items([]), START, np.array(features, np.float32) if features else None)


@pytest.fixture
def stores() -> MemoryStores:
    stores = films_stores()
    told: dict[str, list[str | None]] = {"city": ["Wien", "Linz", None], "age": [None, None, "71"]}
    stores.users.upsert(Users.build(user_id=["wienerin", "linzer", "elder"], attributes=told))
    return stores


def system() -> System:
    liked = [("Wien", TOTORO)] * 8 + [("Graz", MOOD)] * 9
    return replace(
        films_system(),
        settings=PreparationSettings(encoders=("hashed-ngrams",)),
        user_columns=COLUMNS,
        profile=profile_of(liked, len(IDS)),
    )


@pytest.fixture
def service(stores: MemoryStores) -> Service:
    return Service(system(), stores, clock=lambda: NOW)


def rungs(service: Service, user_id: str, **more: Any) -> tuple[str, str]:
    """The rung of a list that is full, and its first item."""
    served = service.recommend(RecommendRequest(user_id, n=5, **more))
    assert len({item.item_id for item in served.items}) == 5
    assert [item.rank for item in served.items] == [1, 2, 3, 4, 5]
    return served.rung, served.items[0].item_id


def test_who_is_known_by_less_stands_on_a_lower_rung(service: Service) -> None:
    assert rungs(service, "ann")[0] == "personal"
    assert rungs(service, "visitor", items=("totoro",))[0] == "session"
    service.edit_taste("writer", "Chungking Express")
    assert rungs(service, "writer") == ("words", "chungking")
    assert rungs(service, "wienerin") == ("profile", "totoro")
    assert rungs(service, "nobody") == ("popular", "alien")


def test_the_most_that_is_known_comes_first(service: Service) -> None:
    service.edit_taste("wienerin", "Chungking Express")
    assert rungs(service, "wienerin") == ("words", "chungking")
    assert rungs(service, "wienerin", items=("totoro",))[0] == "session"
    service.record(Events.build(user_id=["wienerin"], item_id=["alien"], event="like", timestamp=[NOW]))
    assert rungs(service, "wienerin", items=("totoro",))[0] == "personal"


def test_who_takes_back_their_words_stands_on_the_next_rung(service: Service) -> None:
    for user, below in (("wienerin", "profile"), ("nobody", "popular")):
        service.edit_taste(user, "Chungking Express")
        assert rungs(service, user)[0] == "words"
        service.clear_taste(user)
        assert rungs(service, user)[0] == below


def test_what_nobody_is_known_to_share_says_nothing(service: Service) -> None:
    assert rungs(service, "linzer")[0] == "popular"
    assert rungs(service, "elder")[0] == "popular"


def test_items_that_the_system_does_not_know_are_no_session(service: Service) -> None:
    assert rungs(service, "nobody", items=("unheard-of",))[0] == "popular"


def test_dislikes_and_filters_hold_on_every_rung(service: Service) -> None:
    disliked = ["chungking", "totoro", "alien"]
    for user in ("writer", "wienerin", "nobody"):
        service.record(Events.build(user_id=[user] * 3, item_id=disliked, event="dislike", timestamp=[NOW] * 3))
    service.edit_taste("writer", "Chungking Express")
    for user, rung in (("writer", "words"), ("wienerin", "profile"), ("nobody", "popular")):
        served = service.recommend(RecommendRequest(user, n=100))
        ids = {item.item_id for item in served.items}
        assert served.rung == rung
        assert not ids & {*disliked, "lost"}
        again = service.recommend(RecommendRequest(user, n=100, keep_seen=True))
        assert {item.item_id for item in again.items} == {*ids, *disliked}
        kinds = service.recommend(RecommendRequest(user, n=100, categories=("Animation",)))
        assert {item.item_id for item in kinds.items} == {"wall-e", "spirited-away", "up"}


def test_words_need_a_system_that_reads_text(stores: MemoryStores) -> None:
    silent = Service(replace(system(), settings=PreparationSettings(encoders=())), stores, clock=lambda: NOW)
    silent.edit_taste("wienerin", "Chungking Express")
    assert rungs(silent, "wienerin")[0] == "profile"


def test_a_system_without_profiles_goes_on_to_what_is_popular(stores: MemoryStores) -> None:
    service = Service(replace(system(), profile=None), stores, clock=lambda: NOW)
    assert rungs(service, "wienerin")[0] == "popular"


def test_page_log_and_interface_name_the_rung(service: Service, stores: MemoryStores) -> None:
    shelves = service.shelves("wienerin", n=5).shelves
    assert [(shelf.kind, shelf.recommendations.rung) for shelf in shelves] == [
        ("for-you", "profile"),
        ("popular", "popular"),
    ]
    first = stores.impressions.read(shelves[0].recommendations.recommendation_id)
    assert set(first.rung) == {"profile"}

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://zhiyin") as client:
            return await client.get("/api/v1/recommend/wienerin")

    assert asyncio.run(get()).json()["rung"] == "profile"


def test_items_that_came_after_training_have_their_places_on_the_rung_of_profiles(stores: MemoryStores) -> None:
    counted = make_model("popularity")
    counted.fit(dataset_of([History.of_items([MOOD])], len(IDS)), RUN)
    growing = Service(replace(system(), model=counted, fallback=counted), stores, clock=lambda: NOW, new_items=0.5)
    growing.add_items(Catalog.build(item_id=["later"], title=["Later"]))
    served = growing.recommend(RecommendRequest("wienerin", n=4))
    assert (served.rung, served.items[0].item_id) == ("profile", "totoro")
    assert "later" in {item.item_id for item in served.items}


def test_attributes_shared_with_many_lift_what_those_like() -> None:
    liked = [("Wien", 0)] * 6 + [("Graz", 1)] * 8
    model = profile_of(liked, 3)
    nobody, wien, graz, old = model.score([asked(), asked(1, 0, 0), asked(0, 1, 0), asked(0, 0, 3)])
    assert np.argmax(nobody) == np.argmax(graz) == 1
    assert np.argmax(wien) == 0
    np.testing.assert_array_equal(old, nobody)
    np.testing.assert_allclose(nobody, np.log1p([6, 8, 0]))
    assert wien[0] - nobody[0] == pytest.approx(np.log((6 + 6 / 14) / (7 * 6 / 14)) / 2)


def test_few_who_share_an_attribute_move_a_list_less_than_many() -> None:
    def lift(prior: float) -> float:
        scores: FloatMatrix = profile_of([("Wien", 0)] * 6 + [("Graz", 1)] * 8, 2, prior).score(
            [asked(), asked(1, 0, 0)]
        )
        return float(scores[1, 0] - scores[0, 0])

    assert lift(1) > lift(10) > lift(100) > 0


def test_training_publishes_a_profile_where_attributes_are_known(tmp_path: Path) -> None:
    def trained(store: str, out: Path) -> System:
        train(TrainRequest(store, out, model="popularity", preparation=PreparationSettings(encoders=())))
        return load_system(out)

    store = f"sqlite:///{tmp_path / 'events.db'}"
    stores = open_stores(store)
    stores.catalog.upsert(Catalog.build(item_id=[f"i{row}" for row in range(10)]))
    users = [f"u{row}" for row in range(30)]
    events = [(user, f"i{(row % 2) * 5 + step}") for row, user in enumerate(users) for step in range(4)]
    stores.events.append(
        Events.build(
            user_id=[user for user, _ in events],
            item_id=[item for _, item in events],
            event="like",
            timestamp=[NOW + row for row in range(len(events))],
        )
    )
    assert trained(store, tmp_path / "bare").profile is None
    cities: list[str | None] = ["Wien", "Graz"] * 15
    stores.users.upsert(Users.build(user_id=[*users, "newcomer"], attributes={"city": [*cities, "Graz"]}))
    service = Service(trained(store, tmp_path / "told"), stores, clock=lambda: NOW + 1000)
    served = service.recommend(RecommendRequest("newcomer", n=4))
    assert served.rung == "profile"
    assert {item.item_id for item in served.items} == {"i5", "i6", "i7", "i8"}
    service.close()
