"""A shop that speaks to Gorse by its own client changes the address and nothing else."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import Server
from doubles import FILMS, NOW, films_system
from gorse import AsyncGorse, Gorse, GorseException
from hypothesis import given
from hypothesis import strategies as st
from servers import served

from zhiyin.app.service import Service
from zhiyin.core.catalog import Catalog
from zhiyin.storage.opening import open_stores
from zhiyin.web.gorse_shapes import ItemShape, UserShape, catalog_of, items_of, people_of, users_of

TIME = "2023-11-01T10:20:30Z"


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    server: Server | None = request.getfixturevalue("postgres") if request.param == "postgres" else None
    stores = open_stores(f"sqlite:///{tmp_path / 'shop.db'}" if server is None else server.new())
    catalog = [Catalog.build(item_id=[name], title=[title], categories=[kinds]) for name, title, kinds in FILMS]
    for each in catalog:
        stores.catalog.upsert(each)
    service = Service(films_system(), stores, clock=lambda: NOW)
    with served(service) as url:
        yield url
    service.close()


@pytest.fixture
def client(address: str) -> Gorse:
    return Gorse(address, "a key")


def star(item_id: str, user_id: str = "bob", kind: str = "star", time: str = TIME) -> dict[str, Any]:
    return {"FeedbackType": kind, "UserId": user_id, "ItemId": item_id, "Timestamp": time}


def told(call: Any, *words: Any) -> int:
    with pytest.raises(GorseException) as error:
        call(*words)
    status: int = error.value.status_code
    return status


def test_users_come_back_as_they_went_in(client: Gorse) -> None:
    bob = {"UserId": "bob", "Labels": {"gender": "M", "age": 24}, "Comment": "my user"}
    assert client.insert_user(bob) == {"RowAffected": 1}
    assert (
        client.insert_users([{"UserId": "小明", "Labels": ["a", {"b": None}]}, {"UserId": "eve"}])["RowAffected"] == 2
    )
    assert client.get_user("bob") == bob
    assert client.get_user("小明")["Labels"] == ["a", {"b": None}]
    first, cursor = client.get_users(2)
    rest, end = client.get_users(2, cursor)
    assert [user["UserId"] for user in (*first, *rest)] == ["bob", "eve", "小明"]
    assert end == ""
    client.insert_feedbacks([star("alien"), star("moon", "stranger")])
    assert client.get_user("stranger") == {"UserId": "stranger", "Labels": None, "Comment": ""}
    assert client.delete_user("bob") == {"RowAffected": 1}
    assert (told(client.get_user, "bob"), client.list_feedbacks("star", "bob")) == (404, [])


def test_ids_hold_slashes_where_they_are_written_as_such(client: Gorse, address: str) -> None:
    client.insert_user({"UserId": "a/b", "Labels": {}})
    client.insert_item({"ItemId": "it/em", "Categories": ["x"], "Comment": "One"})
    client.insert_feedbacks([star("it/em", "a/b"), star("alien", "a/b")])
    with httpx.Client(base_url=f"{address}/api") as web:
        assert web.get("/user/a%2Fb").json()["UserId"] == "a/b"
        assert web.get("/item/it%2fem").json()["ItemId"] == "it/em"
        assert web.get("/feedback/star/a%2Fb/it%2Fem").json()["ItemId"] == "it/em"
        assert "moon" in web.get("/recommend/a%2Fb").json()
        assert web.get("/recommend/a/b").json() == [], "one user and a category"
        assert web.put("/item/it%2Fem/category/a%2Fb").json() == {"RowAffected": 1}
        assert web.get("/item/it%2Fem").json()["Categories"] == ["x", "a/b"]
        assert web.delete("/item/it%2Fem").status_code == web.delete("/user/a%2Fb").status_code == httpx.codes.OK
        assert web.get("/user/a%2Fb").status_code == web.get("/item/it%2Fem").status_code == httpx.codes.NOT_FOUND
        assert web.get("/user/a%1Fb").status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_an_item_that_was_taken_away_is_told_nowhere(client: Gorse, address: str) -> None:
    assert client.delete_item("moon") == {"RowAffected": 1}
    with httpx.Client(base_url=f"{address}/api") as web:
        for path in ("/item/moon", "/v1/items/moon", "/v1/similar/moon"):
            assert web.get(path).status_code == httpx.codes.NOT_FOUND, path
        assert web.get("/item/moon/neighbors").json() == []
        assert "moon" not in [item["item_id"] for item in web.get("/v1/items", params={"limit": 200}).json()["items"]]


def test_what_could_not_be_told_again_is_refused_and_harms_no_listing(client: Gorse, address: str) -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    assert told(client.insert_item, {"ItemId": "deep", "Labels": deep}) == httpx.codes.UNPROCESSABLE_ENTITY
    assert told(client.insert_user, {"UserId": "deep", "Labels": {"a": deep}}) == httpx.codes.UNPROCESSABLE_ENTITY
    written = {"half": '"\\ud800"', "endless": "1e400", "deep": "[" * 300 + "]" * 300}
    row = {"item_id": "odd", "attributes": written}
    assert httpx.post(f"{address}/api/v1/items", json=row).status_code == httpx.codes.OK
    assert client.get_item("odd")["Labels"] == written
    assert "odd" in [each["ItemId"] for each in client.get_items(100)[0]]


def test_items_come_back_as_they_went_in_and_change_in_parts(client: Gorse) -> None:
    item = {
        "ItemId": "vuejs:vue",
        "IsHidden": False,
        "Labels": {"language": "JavaScript", "stars": 3, "topics": ["a", "b"], "code": "7", "deep": {"x": [1.5]}},
        "Categories": ["framework"],
        "Timestamp": "2022-02-24T00:00:00Z",
        "Comment": "Vue.js framework",
    }
    assert client.insert_item(item) == {"RowAffected": 1}
    assert client.get_item("vuejs:vue") == item
    assert client.search_items("vue.js") == []
    assert [found["ItemId"] for found in client.search_items("MOOD")] == ["mood"]
    client.update_item("vuejs:vue", is_hidden=True, labels={"a": 1})
    assert client.get_item("vuejs:vue") == {**item, "IsHidden": True, "Labels": {"a": 1}}
    client.update_item("vuejs:vue", timestamp="2022-02-25T00:00:00.5Z", categories=[])
    changed = client.get_item("vuejs:vue")
    assert (changed["Timestamp"], changed["Categories"], changed["IsHidden"]) == ("2022-02-25T00:00:00.500Z", [], True)
    first, cursor = client.get_items(10)
    rest, end = client.get_items(10, cursor)
    assert [each["ItemId"] for each in (*first, *rest)] == sorted([film[0] for film in FILMS] + ["vuejs:vue"])
    assert end == ""
    assert client.delete_item("vuejs:vue") == {"RowAffected": 1}
    assert told(client.get_item, "vuejs:vue") == told(client.update_item, "vuejs:vue", True) == 404


def test_what_the_shape_cannot_tell_of_an_item_stays(address: str, client: Gorse) -> None:
    rows = {"item_id": "lamp", "title": "Lamp", "price": 9.5, "description": "Bright.", "categories": ["home"]}
    assert httpx.post(f"{address}/api/v1/items", json=rows).status_code == 200
    assert httpx.put(f"{address}/api/item/lamp/category/light").json() == {"RowAffected": 1}
    client.update_item("lamp", comment="Desk lamp")
    assert client.get_item("lamp")["Categories"] == ["home", "light"]
    assert httpx.delete(f"{address}/api/item/lamp/category/home").json() == {"RowAffected": 1}
    assert (client.get_item("lamp")["Categories"], client.get_item("lamp")["Comment"]) == (["light"], "Desk lamp")


def test_feedback_is_kept_once_listed_and_removed(address: str, client: Gorse) -> None:
    both = [star("alien"), star("moon", time="2023-11-02 10:20:30 +0000 UTC")]
    assert client.insert_feedbacks(both) == client.insert_feedbacks(both) == {"RowAffected": 2}
    client.insert_feedback("rating", "bob", "moon", TIME, 4.5)
    assert [(each["ItemId"], each["Timestamp"]) for each in client.list_feedbacks("star", "bob")] == [
        ("alien", TIME),
        ("moon", "2023-11-02T10:20:30Z"),
    ]
    first, cursor = client.get_feedbacks(2)
    rest, end = client.get_feedbacks(2, cursor)
    assert [each["FeedbackType"] for each in (*first, *rest)] == ["star", "star", "rating"]
    assert (rest[0]["Value"], end) == (4.5, "")
    later = star("moon", kind="rating", time="2023-11-03T00:00:00Z") | {"Value": 2}
    assert httpx.put(f"{address}/api/feedback", json=[later]).json() == {"RowAffected": 1}
    found = httpx.get(f"{address}/api/feedback/rating/bob/moon").json()
    assert (found["Value"], found["Timestamp"]) == (2.0, "2023-11-03T00:00:00Z")
    assert [each["Value"] for each in httpx.get(f"{address}/api/item/moon/feedback/rating").json()] == [2.0]
    assert client.delete_feedback("bob", "moon") == {"RowAffected": 2}
    assert httpx.get(f"{address}/api/user/bob/feedback").json() == client.list_feedbacks("star", "bob")
    assert httpx.get(f"{address}/api/feedback/rating/bob/moon").status_code == 404


def test_lists_follow_what_was_sent_and_leave_out_what_was_seen(client: Gorse) -> None:
    nobody = [score.id for score in client.get_recommend("bob")]
    client.insert_feedbacks([star("totoro")])
    listed = client.get_recommend("bob", n=20)
    ids = [score.id for score in listed]
    assert ids != nobody
    assert "totoro" not in ids
    assert [score.score for score in listed] == sorted((score.score for score in listed), reverse=True)
    assert [score.id for score in client.get_recommend("bob", n=3, offset=3)] == ids[3:6]
    assert [score.id for score in client.get_recommend("bob", n=500)] == ids
    animated = {name for name, _, kinds in FILMS if "Animation" in kinds}
    assert {score.id for score in client.get_recommend("bob", "Animation", 20)} == animated - {"totoro"}
    written = [score.id for score in client.get_recommend("bob", n=2, write_back_type="read", write_back_delay="10m")]
    assert [each["ItemId"] for each in client.list_feedbacks("read", "bob")] == written
    assert client.list_feedbacks("read", "bob")[0]["Timestamp"] == "2023-11-14T22:23:20Z"
    assert not set(written) & {score.id for score in client.get_recommend("bob", n=20)}


def test_a_visitor_is_known_by_what_the_request_tells(client: Gorse) -> None:
    listed = client.session_recommend([star("totoro", "whoever")], 3)
    assert [each["Id"] for each in listed] == [score["Id"] for score in client.get_neighbors("totoro", 3)]
    assert client.get_neighbors("totoro", 1, 2)[0]["Id"] == listed[2]["Id"]
    assert client.list_feedbacks("star", "whoever") == []


def test_what_is_the_same_for_everybody(address: str, client: Gorse) -> None:
    client.insert_item({"ItemId": "up", "Timestamp": "2023-11-10", "Comment": "Up"})
    client.insert_item({"ItemId": "moon", "Timestamp": "2023-11-12", "Comment": "Moon"})

    def ids(path: str) -> list[str]:
        return [each["Id"] for each in httpx.get(f"{address}/api/{path}").json()]

    assert ids("latest?n=2") == ["moon", "up"]
    assert ids("popular?n=2") == ids("non-personalized/popular?n=2") == ["alien", "blade-runner"]
    client.insert_feedbacks([star("alien")])
    assert ids("popular?n=2&user-id=bob") == ["blade-runner", "solaris"]
    assert ids("popular?n=1&category=Romance&offset=1") == ["chungking"]


def test_the_client_that_waits_for_nothing(address: str) -> None:
    async def talk() -> list[str]:
        client = AsyncGorse(address, "a key")
        await client.insert_feedback("star", "bob", "totoro", TIME)
        assert (await client.list_feedbacks("star", "bob"))[0]["ItemId"] == "totoro"
        return [score.id for score in await client.get_recommend("bob", n=2)]

    assert asyncio.run(talk()) == ["wall-e", "spirited-away"]


def test_what_cannot_be_used_is_refused_and_nothing_of_it_kept(address: str, client: Gorse) -> None:
    assert told(client.insert_feedbacks, [star("alien"), star("alien", time="yesterday")]) == 422
    assert told(client.insert_feedbacks, [star("alien", ""), star("alien")]) == 422
    assert told(client.insert_item, {"ItemId": "a\u0000b"}) == 422
    for labels in ('{"a": NaN}', '{"a": "\\ud800"}'):
        headers = {"content-type": "application/json"}
        body = f'{{"UserId": "u", "Labels": {labels}}}'
        assert httpx.post(f"{address}/api/user", content=body, headers=headers).status_code == 422
    assert (client.get_feedbacks(5), told(client.get_user, "u")) == (([], ""), 404)


def test_values_that_are_odd_harm_no_listing(address: str, client: Gorse) -> None:
    assert told(client.insert_item, {"ItemId": "y", "Timestamp": "9999-12-31T23:59:59-12:00"}) == 422
    deep = {"item_id": "deep", "title": "Deep", "attributes": {"a": "[" * 20_000, "b": "NaN", "c": "null"}}
    assert httpx.post(f"{address}/api/v1/items", json=deep).status_code == 200
    assert client.get_item("deep")["Labels"] == {"a": "[" * 20_000, "b": "NaN", "c": None}
    client.update_item("deep", comment="x" * 2_500)
    assert len(client.get_items(100)[0]) == len(FILMS) + 1
    assert client.insert_user({"UserId": "u", "Labels": {"a": "[" * 20_000}, "Comment": None})["RowAffected"] == 1
    assert httpx.patch(f"{address}/api/user/u", json={"Comment": "y" * 2_500}).status_code == 200
    assert [httpx.get(f"{address}/api/{path}?cursor=%00").status_code for path in ("items", "users")] == [422, 422]


def test_what_other_clients_leave_out_is_done_without(address: str, client: Gorse) -> None:
    visits = [{"ItemId": "totoro", "FeedbackType": "star", "UserId": "", "Timestamp": ""}, {"ItemId": "nothing"}]
    assert len(client.session_recommend(visits, 2)) == 2
    assert client.get_neighbors("nothing") == []
    client.insert_item({"ItemId": "z", "IsHidden": None, "Comment": None, "Categories": None, "Labels": None})
    assert client.get_item("z")["IsHidden"] is False
    client.insert_feedbacks([star("moon") | {"Value": None}])
    twice = [star("moon", time="2023-11-03") | {"Value": 1}, star("moon", time="2023-11-02") | {"Value": 2}]
    assert httpx.put(f"{address}/api/feedback", json=twice).status_code == 200
    assert [each["Value"] for each in client.list_feedbacks("star", "bob")] == [2.0]


TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(TEXTS.filter(lambda name: name not in {"comment", "labels"}), VALUES, min_size=1, max_size=4))
def test_labels_of_any_kind_survive(labels: dict[str, Any]) -> None:
    (item,) = items_of(catalog_of([ItemShape(item_id="i", labels=labels)]))
    (user,) = users_of(people_of([UserShape(user_id="u", labels=labels)]))
    for found in (item.labels, user.labels):
        assert json.dumps(found, sort_keys=True) == json.dumps(labels, sort_keys=True)
