"""A server goes over to what is published, and never to what cannot serve."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from servers import small_shop

from zhiyin.app.loading import load_system
from zhiyin.app.serve import Server, open_server
from zhiyin.app.service import RecommendRequest
from zhiyin.app.serving.following import Follower, checked
from zhiyin.app.serving.state import ServingSlot
from zhiyin.app.standby import STANDBY
from zhiyin.app.train import TrainRequest, train
from zhiyin.artifacts.folder import KEPT_VERSIONS, current, versions
from zhiyin.core.errors import ArtifactError, StoreError
from zhiyin.web.application import create_app

Shop = tuple[str, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return small_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(trained: Shop, tmp_path: Path) -> Shop:
    """A copy, to be harmed."""
    shutil.copytree(trained[1].parent, tmp_path / "shop")
    return f"sqlite:///{tmp_path / 'shop' / 'shop.db'}", tmp_path / "shop" / "system"


@pytest.fixture
def server(shop: Shop) -> Iterator[Server]:
    with closing(open_server(*shop)) as opened:
        yield opened


def publish(shop: Shop) -> str:
    train(TrainRequest(*shop, "popularity"))
    return current(shop[1]).name


def truncated(version: Path) -> None:
    path = version / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def flipped(version: Path) -> None:
    path = version / "catalogue.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def without_manifest(version: Path) -> None:
    (version / "manifest.json").write_text("{", "utf-8")


HARMS = [truncated, flipped, without_manifest]


def test_a_version_that_is_published_serves_the_next_request(server: Server, shop: Shop) -> None:
    before = server.service.recommend(RecommendRequest("u1")).manifest_id
    published = publish(shop)
    server.follower.look()
    assert server.service.recommend(RecommendRequest("u1")).manifest_id == published != before


@pytest.mark.parametrize("harm", HARMS)
def test_a_version_that_is_damaged_never_serves(server: Server, shop: Shop, harm: Callable[[Path], None]) -> None:
    slot, before = server.service.slot, server.service.manifest_id
    follower = Follower(slot, shop[1])
    publish(shop)
    harm(current(shop[1]))
    for _ in range(2):
        follower.look()
        assert server.service.recommend(RecommendRequest("u1")).manifest_id == before
        assert server.service.refused() is not None
    published = publish(shop)
    follower.look()
    assert (server.service.manifest_id, server.service.refused()) == (published, None)


def test_a_version_that_came_while_the_store_failed_is_tried_again(
    server: Server, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.follower.close()
    before, published = server.service.manifest_id, publish(shop)
    with monkeypatch.context() as failing:
        failing.setattr(ServingSlot, "replace", Mock(side_effect=StoreError("locked")))
        with pytest.raises(StoreError):
            server.follower.look()
    assert server.service.manifest_id == before
    server.follower.look()
    assert server.service.manifest_id == published


def test_going_back_to_what_serves_ends_a_refusal(server: Server, shop: Shop) -> None:
    server.follower.close()
    serving = current(shop[1])
    publish(shop)
    truncated(current(shop[1]))
    server.follower.look()
    assert server.service.refused() is not None
    (shop[1] / "CURRENT").write_text(serving.name)
    server.follower.look()
    assert server.service.refused() is None


@pytest.mark.parametrize("harm", HARMS)
def test_a_server_begins_with_the_last_version_that_is_whole(shop: Shop, harm: Callable[[Path], None]) -> None:
    before = current(shop[1]).name
    publish(shop)
    harm(current(shop[1]))
    with closing(open_server(*shop)) as server:
        assert server.service.recommend(RecommendRequest("u1")).manifest_id == before
        assert server.service.problem() is None


def test_where_nothing_can_serve_what_is_popular_stands_by(shop: Shop) -> None:
    for version in versions(shop[1]):
        truncated(version)
    with closing(open_server(*shop)) as server:
        service = server.service
        served = service.recommend(RecommendRequest("u1", 3))
        assert (served.manifest_id, served.rung, len(served.items)) == (STANDBY, "popular", 3)
        assert service.similar(served.items[0].item_id) == [], "what is popular says nothing of nearness"
        assert "what is popular" in str(service.problem())
        assert create_app(service)
        published = publish(shop)
        server.follower.look()
        assert (service.manifest_id, service.problem()) == (published, None)


def test_an_empty_shop_without_a_system_is_served_and_says_so(tmp_path: Path) -> None:
    with closing(open_server(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "none")) as server:
        assert list(server.service.recommend(RecommendRequest("u1")).items) == []
        assert server.service.problem() is not None


def test_a_system_that_answers_with_no_numbers_cannot_serve(shop: Shop) -> None:
    system = load_system(shop[1])
    system.model.load_parameters({"popularity": np.full(len(system.items), np.nan)})
    with pytest.raises(ArtifactError, match="no finite scores"):
        checked(system)


def test_the_current_version_is_kept_however_many_come(shop: Shop) -> None:
    kept = current(shop[1])
    for _ in range(KEPT_VERSIONS):
        publish(shop)
    assert len(versions(shop[1])) == KEPT_VERSIONS
    assert not kept.exists()
    (shop[1] / "CURRENT").write_text(versions(shop[1])[-1].name)
    assert versions(shop[1])[0] == current(shop[1])


def test_every_list_comes_wholly_from_one_version_while_others_are_put_in(server: Server, shop: Shop) -> None:
    """Two systems whose scores tell them apart take turns under requests."""
    systems = [load_system(shop[1]), load_system(shop[1])]
    systems[1].fallback.load_parameters({"popularity": 1_000 + np.arange(len(systems[1].items), dtype=np.float64)})
    systems[1] = replace(systems[1], manifest=replace(systems[1].manifest, manifest_id="other"))
    slot: ServingSlot = server.service.slot
    done, failures = threading.Event(), []

    def ask() -> None:
        try:
            while not done.is_set():
                served = server.service.recommend(RecommendRequest("nobody", 5))
                large = {item.score >= 1_000 for item in served.items}
                assert large == {served.manifest_id == "other"}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(200):
        slot.replace(systems[turn % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
