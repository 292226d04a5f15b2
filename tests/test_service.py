"""What a running system promises about its lists, its reasons and its log."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from databases import Server
from doubles import FILMS, NOW, MemoryImpressions, MemoryStores, films_stores, films_system
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from zhiyin.app.registry import make_model
from zhiyin.app.service import EventsRefusedError, RecommendRequest, Service
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import FeatureColumn
from zhiyin.core.errors import InputError, NotFoundError
from zhiyin.core.events import AHEAD_MS, MAX_ID_LENGTH, Events
from zhiyin.core.results import Recommendations
from zhiyin.core.stores import Stores
from zhiyin.models.next_item import NextItemModel
from zhiyin.retrieval.topn import top_n
from zhiyin.storage.opening import open_stores


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def service(stores: MemoryStores) -> Service:
    return Service(films_system(), stores, clock=lambda: NOW)


def ids(served: Recommendations) -> list[str]:
    return [item.item_id for item in served.items]


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 200)), elements=st.integers(-9, 9)),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_top_n_equals_a_full_sort_with_the_lower_row_first(scores: np.ndarray, n: int, seed: int) -> None:
    eligible = np.random.default_rng(seed).random(scores.shape) < 0.6
    best = top_n(scores, n, eligible)
    for line, allowed, rows, found in zip(scores, eligible, best.rows, best.scores, strict=True):
        expected = sorted(np.flatnonzero(allowed), key=lambda row: (-line[row], row))[:n]
        assert [row for row in rows if row >= 0] == expected
        assert np.array_equal(found[: len(expected)], line[expected])
        assert np.isnan(found[len(expected) :]).all()


def test_top_n_refuses_scores_that_are_no_numbers() -> None:
    with pytest.raises(InputError, match="not a number"):
        top_n(np.array([[1.0, np.nan]]), 1)
    with pytest.raises(InputError, match="at least one"):
        top_n(np.ones((1, 2)), 0)


def test_unknown_user_gets_the_popular_list_and_is_told_so(service: Service) -> None:
    served = service.recommend(RecommendRequest("nobody", n=3))
    assert served.rung == "popular"
    assert ids(served) == ["alien", "blade-runner", "solaris"]
    assert {item.reason.kind for item in served.items} == {"popular"}
    assert [item.rank for item in served.items] == [1, 2, 3]


def test_known_user_gets_unseen_available_items_with_exact_reasons(service: Service) -> None:
    served = service.recommend(RecommendRequest("ann", n=100))
    assert served.rung == "personal"
    assert served.manifest_id == "films-1"
    assert not {"alien", "solaris", "lost"} & set(ids(served))
    assert "totoro" in ids(served), "having been shown is not having seen"
    first = served.items[0]
    system = service.slot.state.system
    query = system.query(films_stores().events.history("ann", 10), NOW)
    parts = system.model.contributions(query, system.items.rows([first.item_id])).parts[0]  # type: ignore[attr-defined]
    assert first.item_id == "stalker"
    assert (first.reason.kind, first.reason.item_id) == ("history", "solaris")
    assert (first.reason.event, first.reason.value) == ("rating", 3.0)
    assert first.reason.share == pytest.approx(parts[1] / parts.sum())


def test_nothing_is_recommended_because_of_what_was_rated_low(stores: MemoryStores) -> None:
    stores.events.append(
        Events.build(
            user_id=["low", "low"],
            item_id=["alien", "solaris"],
            event="rating",
            value=[1.0, 4.0],
            timestamp=[NOW, NOW + 1],
        )
    )
    served = Service(films_system(), stores, clock=lambda: NOW + 2).recommend(RecommendRequest("low", 5))
    named = {item.reason.item_id for item in served.items if item.reason.kind == "history"}
    assert named == {"solaris"}


def test_model_without_exact_contributions_claims_no_reason(stores: MemoryStores) -> None:
    served = Service(films_system(additive=False), stores).recommend(RecommendRequest("ann"))
    assert served.rung == "personal"
    assert {item.reason.kind for item in served.items} == {"none"}


def test_seen_items_come_back_when_asked_for(service: Service) -> None:
    assert "alien" in ids(service.recommend(RecommendRequest("ann", n=100, keep_seen=True)))


def test_categories_filter_the_list(service: Service) -> None:
    served = service.recommend(RecommendRequest("ann", n=100, categories=("Animation", "no such thing")))
    assert set(ids(served)) == {"wall-e", "totoro", "spirited-away", "up"}
    assert not service.recommend(RecommendRequest("ann", categories=("no such thing",))).items


def test_items_before_their_time_are_left_out(stores: MemoryStores) -> None:
    system = films_system()
    system.catalog.available_from[1] = NOW + 1
    early = Service(system, stores, clock=lambda: NOW).recommend(RecommendRequest("nobody", n=100))
    later = Service(system, stores, clock=lambda: NOW + 1).recommend(RecommendRequest("nobody", n=100))
    assert "blade-runner" not in ids(early)
    assert "blade-runner" in ids(later)


def test_visitor_without_history_is_answered_by_what_they_like(service: Service) -> None:
    served = service.recommend(RecommendRequest("visitor", n=4, items=("totoro",)))
    assert served.rung == "session"
    assert served.items[0].reason.item_id == "totoro"
    assert served.items[0].reason.event == "like"
    assert "totoro" not in ids(served)
    unheard = service.recommend(RecommendRequest("visitor", items=("unheard-of",)))
    assert (unheard.rung, len(unheard.items)) == ("popular", 10)
    with pytest.raises(InputError, match="item_id"):
        service.recommend(RecommendRequest("visitor", items=("a\nb",)))


def test_only_dislikes_do_not_make_a_personal_list(service: Service) -> None:
    service.record(Events.build(user_id=["eve"], item_id=["alien"], event="dislike", timestamp=[NOW]))
    served = service.recommend(RecommendRequest("eve"))
    assert served.rung == "popular"
    assert "alien" not in ids(served)


def test_every_list_is_logged_as_it_was_shown(service: Service, stores: MemoryStores) -> None:
    served = service.recommend(RecommendRequest("小明", n=5))
    again = service.recommend(RecommendRequest("小明", n=5))
    shown = stores.impressions.read(served.recommendation_id)
    assert served.recommendation_id != again.recommendation_id
    assert list(shown.item_id) == ids(served)
    assert list(shown.position) == [1, 2, 3, 4, 5]
    assert list(shown.score) == [item.score for item in served.items]
    assert set(shown.user_id) == {"小明"}
    assert set(shown.rung) == {"personal"}
    assert set(shown.timestamp) == {NOW}


def test_a_new_event_changes_the_next_list(service: Service) -> None:
    before = service.recommend(RecommendRequest("ann", n=3))
    liked = before.items[0].item_id
    service.record(
        Events.build(
            user_id=["ann"], item_id=[liked], event="like", recommendation_id=[before.recommendation_id], position=[1]
        )
    )
    after = service.recommend(RecommendRequest("ann", n=3))
    assert liked not in ids(after)
    assert service.history("ann", 1)[0].event == "like"


def test_lists_for_many_equal_lists_one_by_one(service: Service) -> None:
    users = ["ann", "nobody", "小明"]
    many = service.recommend_many(users, n=7)
    single = [service.recommend(RecommendRequest(user, n=7)) for user in users]
    assert [served.user_id for served in many] == users
    assert [served.items for served in many] == [served.items for served in single]


def test_shelves_tell_what_they_are(service: Service, stores: MemoryStores) -> None:
    shelves = service.shelves("ann", 4).shelves
    assert [shelf.kind for shelf in shelves] == ["for-you", "because", "because", "popular"]
    because = shelves[1]
    assert because.reason is not None
    assert because.reason.item_id in {"alien", "solaris"}
    assert {item.reason.item_id for item in because.recommendations.items} == {because.reason.item_id}
    personal = [item for shelf in shelves[:-1] for item in ids(shelf.recommendations)]
    assert len(personal) == len(set(personal))
    for shelf in shelves:
        assert len(stores.impressions.read(shelf.recommendations.recommendation_id)) == len(shelf.recommendations.items)


def test_favourite_category_has_a_shelf(stores: MemoryStores) -> None:
    shelves = Service(films_system(additive=False), stores).shelves("ann", 3).shelves
    assert [(shelf.kind, shelf.category) for shelf in shelves] == [
        ("for-you", None),
        ("category", "Science fiction"),
        ("popular", None),
    ]


def test_the_first_shelf_is_narrowed_and_every_logged_list_is_one_that_was_answered(stores: MemoryStores) -> None:
    service = Service(films_system(), stores, clock=lambda: NOW)
    shelves = service.shelves("ann", 9, ("Animation",)).shelves
    assert (shelves[0].kind, shelves[-1].kind) == ("for-you", "popular")
    assert set(ids(shelves[0].recommendations)) == {"wall-e", "totoro", "spirited-away", "up"}
    assert "alien" not in ids(shelves[-1].recommendations)
    assert "blade-runner" in ids(shelves[-1].recommendations)
    stranger = service.shelves("nobody", 9, ("Animation",)).shelves
    assert set(ids(stranger[0].recommendations)) == set(ids(shelves[0].recommendations))
    empty = service.shelves("ann", 9, ("no such thing",)).shelves
    assert (empty[0].kind, empty[0].recommendations.items) == ("for-you", ())
    assert isinstance(stores.impressions, MemoryImpressions)
    logged = {shown.served.recommendation_id for shown in stores.impressions.logged}
    answered = {s.recommendations.recommendation_id for s in (*shelves, *stranger, *empty) if s.recommendations.items}
    assert logged == answered


def test_stranger_has_the_popular_shelf_alone(service: Service) -> None:
    assert [shelf.kind for shelf in service.shelves("nobody").shelves] == ["popular"]


def test_bad_events_are_refused_whole_with_every_problem(service: Service, stores: MemoryStores) -> None:
    before = stores.events.last_sequence()
    events = Events.build(
        user_id=["ann", "", "a\x00b", "ann", "ann"],
        item_id=["alien", "alien", "no\nthing", "alien", "alien"],
        event=["like", "like", "like", "rating", "rating"],
        value=[np.nan, np.nan, np.nan, np.inf, -1e300],
    )
    with pytest.raises(EventsRefusedError, match="row 1, user_id") as refused:
        service.record(events)
    assert [(problem.row, problem.field) for problem in refused.value.problems] == [
        (1, "user_id"),
        (2, "user_id"),
        (2, "item_id"),
        (3, "value"),
        (4, "value"),
    ]
    assert stores.events.last_sequence() == before


def test_an_event_of_the_far_future_is_refused_and_one_of_a_clock_ahead_is_kept(
    service: Service, stores: MemoryStores
) -> None:
    times = [NOW + AHEAD_MS, NOW + AHEAD_MS + 1]
    with pytest.raises(EventsRefusedError, match="row 1, timestamp: must not be later than now"):
        service.record(Events.build(user_id=["ann"] * 2, item_id=["up"] * 2, event="like", timestamp=times))
    assert service.record(Events.build(user_id=["ann"], item_id=["up"], event="like", timestamp=times[:1])).added == 1
    assert stores.events.history("ann", 9).timestamp.max() == NOW + AHEAD_MS


def test_events_on_items_that_are_new_in_the_shop_are_kept_and_change_no_list(
    service: Service, stores: MemoryStores
) -> None:
    before = service.recommend(RecommendRequest("ann", n=100)).items
    stores.catalog.upsert(Catalog.build(item_id=["dune"], title=["Dune"], categories=[["Science fiction"]]))
    told = Events.build(user_id=["ann", "newcomer"], item_id=["dune", "unheard-of"], event="like")
    assert service.record(told).added == 2
    assert service.recommend(RecommendRequest("ann", n=100)).items == before
    assert service.recommend(RecommendRequest("newcomer")).rung == "popular"
    assert [shelf.kind for shelf in service.shelves("newcomer").shelves] == ["popular"]
    assert service.history("ann", 1)[0].title == "Dune"
    assert service.history("newcomer")[0].title == "unheard-of"
    assert list(stores.events.history("newcomer", 9).item_id) == ["unheard-of"]


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """An empty store; with films in memory."""
    if request.param == "memory":
        return films_stores()
    in_postgres = request.param == "postgres"
    return open_stores(
        request.getfixturevalue("postgres").new() if in_postgres else f"sqlite:///{tmp_path / 'shop.db'}"
    )


@pytest.mark.parametrize("shop", ["memory", "sqlite", "postgres"], indirect=True)
def test_lists_follow_the_shop_without_training_again(shop: Stores) -> None:
    stores = shop
    stores.catalog.upsert(Catalog.build(item_id=["alien"], title=["Alien"], available=[False]))
    service = Service(films_system(), stores, clock=lambda: NOW)
    everything = RecommendRequest("nobody", n=100)
    first = ids(service.recommend(everything))
    assert not {"alien", "lost"} & set(first)
    assert "moon" in first
    written = Catalog.build(
        item_id=["lost", "moon", "alien", "dune"],
        title=["A Film That Is Found", None, "Alien (restored)", "Dune"],
        categories=[["Drama", "Rarities"], [], [], []],
        price=[9.5, np.nan, np.nan, np.nan],
        available=[True, False, True, True],
    )
    stores.catalog.upsert(written)
    second = ids(service.recommend(everything))
    assert set(second) == set(first) - {"moon"} | {"lost", "alien"}
    assert service.item("alien").title == "Alien (restored)"
    assert [item.item_id for item in service.items("is found")] == ["lost"]
    assert service.item("lost").price == 9.5
    assert ("Rarities", 1) in service.categories()
    assert service.item("stalker").title == "Stalker", "what the shop does not describe stays as it was at training"
    for served in service.recommend_many(["ann", "nobody"], n=100):
        assert not {"moon", "dune"} & set(ids(served))
    stores.close()


def test_an_event_that_one_process_takes_is_in_the_next_list_of_another(postgres: Server) -> None:
    url = postgres.new()
    ours, theirs = (Service(films_system(), open_stores(url), clock=lambda: NOW) for _ in range(2))
    first = theirs.recommend(RecommendRequest("kim", n=100))
    ours.record(Events.build(user_id=["kim"], item_id=["alien"], event="like", timestamp=[NOW]))
    second = theirs.recommend(RecommendRequest("kim", n=100))
    assert (first.rung, second.rung) == ("popular", "personal")
    assert set(ids(first)) - set(ids(second)) == {"alien"}
    assert ids(second) == ids(ours.recommend(RecommendRequest("kim", n=100)))
    ours.close()
    theirs.close()


def test_a_shop_of_another_tenant_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    ours, theirs = open_stores(url), open_stores(url, "theirs")
    service = Service(films_system(), ours, clock=lambda: NOW)
    state = service.slot.state
    theirs.catalog.upsert(Catalog.build(item_id=["alien"], available=[False]))
    theirs.users.upsert(Users.build(user_id=["ann"], attributes={"city": ["Wien"]}))
    assert "alien" in ids(service.recommend(RecommendRequest("nobody", n=100)))
    assert service.slot.state is state
    assert (ours.users.attributes("ann"), theirs.users.attributes("ann")) == ({}, {"city": "Wien"})
    ours.close()
    theirs.close()


def test_a_system_without_user_columns_reads_no_attributes(stores: MemoryStores) -> None:
    stores.users.upsert(Users.build(user_id=["ann"], attributes={"city": ["Wien"]}))
    system = films_system()
    assert system.query(stores.events.history("ann", 9), NOW, stores.users.attributes("ann")).user_features is None
    columns = (FeatureColumn("city", "Wien"), FeatureColumn("age", mean=30.0, spread=10.0))
    told = replace(system, user_columns=columns).query(Events.empty(), NOW, {"city": "Wien", "age": "45", "shoe": "41"})
    assert told.user_features is not None
    assert told.user_features.tolist() == [1.0, 1.5]


def test_the_catalogue_is_read_again_only_after_a_change(stores: MemoryStores) -> None:
    service = Service(films_system(), stores, clock=lambda: NOW)
    state = service.slot.state
    service.recommend(RecommendRequest("ann"))
    assert service.slot.state is state
    stores.catalog.upsert(Catalog.build(item_id=["up"], available=[False]))
    assert "up" not in ids(service.recommend(RecommendRequest("ann", n=100)))
    assert service.slot.state is not state
    service.slot.replace(films_system(manifest_id="films-2"))
    served = service.recommend(RecommendRequest("ann", n=100))
    assert served.manifest_id == "films-2"
    assert "up" not in ids(served)


def test_events_are_known_by_their_id(service: Service) -> None:
    events = Events.build(user_id=["ann"], item_id=["up"], event="like", event_id=["e-1"])
    assert (service.record(events).added, service.record(events).known) == (1, 1)


def test_history_is_newest_first(service: Service) -> None:
    newest = service.history("小明", 2)
    assert [(entry.item_id, entry.event) for entry in newest] == [("amelie", "like"), ("mood", "play")]
    assert newest[0].title == "Amélie"
    assert service.history("ann")[1].value == 3.0
    assert service.history("nobody") == []


@pytest.mark.parametrize("user_id", ["", "a\nb", "\ud800", "x" * (MAX_ID_LENGTH + 1)])
def test_impossible_user_ids_are_refused(service: Service, user_id: str) -> None:
    with pytest.raises(InputError, match="user_id"):
        service.recommend(RecommendRequest(user_id))


def test_users_are_found_by_prefix(service: Service) -> None:
    assert service.users() == [("ann", 3), ("小明", 2)]
    assert service.users("小") == [("小明", 2)]


def test_items_are_found_by_title_and_popular_ones_come_first(service: Service) -> None:
    assert [item.item_id for item in service.items("", 2)] == ["alien", "blade-runner"]
    assert [item.item_id for item in service.items("AMÉLIE")] == ["amelie"]
    assert service.item("mood").categories == ("Romance", "Drama")
    assert service.describe("mood") == service.item("mood")
    assert service.describe("gone").title == "gone"
    assert service.categories()[0] == ("Drama", 9)
    with pytest.raises(NotFoundError, match="'x'"):
        service.item("x")


def test_similar_items_need_a_model_that_knows_nearness(service: Service, stores: MemoryStores) -> None:
    near = service.similar("totoro", 2)
    assert [view.item_id for view, _ in near] == ["wall-e", "spirited-away"]
    assert Service(films_system(additive=False), stores).similar("totoro") == []


@pytest.mark.parametrize("name", ["attentive", "transformer"])
def test_similar_items_of_a_gradient_model_are_alike_and_not_merely_popular(name: str, stores: MemoryStores) -> None:
    system = films_system()
    model = make_model(name, {"dim": 4})
    assert isinstance(model, NextItemModel)
    network = model.sized(len(system.items), [])
    kinds = sorted({film[2][0] for film in FILMS})
    taste = torch.eye(4)[torch.tensor([kinds.index(film[2][0]) for film in FILMS])]
    with torch.no_grad():
        network.ids.copy_(taste)
        network.moment.copy_(torch.tensor([100.0 if "Romance" in film[2] else 0.0 for film in FILMS]))
    model.load_parameters({part: value.numpy() for part, value in network.state_dict().items()})
    near = Service(replace(system, model=model), stores, clock=lambda: NOW).similar("totoro", 4)
    assert {view.item_id for view, _ in near[:3]} == {"wall-e", "spirited-away", "up"}
    assert [score for _, score in near] == pytest.approx([1, 1, 1, 0])


def test_a_new_version_answers_after_one_assignment(service: Service) -> None:
    assert service.problem() is None
    service.slot.replace(films_system(manifest_id="films-2"))
    assert service.manifest_id == "films-2"
    assert service.recommend(RecommendRequest("ann")).manifest_id == "films-2"
