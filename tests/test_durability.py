"""What was acknowledged is there, whatever happens to the process, the disk or the database."""

import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from doubles import NOW, films_system
from servers import PROGRAM, small_shop

from zhiyin.app.service import RecommendRequest, Service
from zhiyin.app.serving.committer import AHEAD, Committer
from zhiyin.core.errors import NotFoundError, StoreError
from zhiyin.core.events import Events
from zhiyin.storage.opening import DatabaseStores, open_stores

KILLS = int(os.environ.get("KILLS", "5"))
READY_S = 60.0


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[DatabaseStores]:
    with closing(open_stores(f"sqlite:///{tmp_path / 'shop.db'}")) as opened:
        yield opened


def like(*ids: str) -> Events:
    return Events.build(user_id=["u"] * len(ids), item_id=["i"] * len(ids), event="like", event_id=list(ids))


def logged(stores: DatabaseStores) -> list[str]:
    return list(Events.concat([Events.empty(), *stores.events.read()]).event_id)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not happened():
        assert time.monotonic() < deadline


def test_what_comes_together_is_written_together(stores: DatabaseStores, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions, held = [], threading.Event()
    write = DatabaseStores.transaction

    @contextmanager
    def counted(self: DatabaseStores) -> Iterator[None]:
        transactions.append(1)
        held.wait()
        with write(self):
            yield

    monkeypatch.setattr(DatabaseStores, "transaction", counted)
    with closing(Committer(stores)) as committer, ThreadPoolExecutor(30) as pool:
        reports = [pool.submit(committer.append, like("0", "shared"))]
        wait_for(lambda: bool(transactions))
        reports += [pool.submit(committer.append, like(str(n), "shared")) for n in range(1, 30)]
        wait_for(lambda: len(committer._writes) == 29)
        held.set()
        found = [report.result() for report in reports]
    assert len(transactions) == 2
    assert sum(report.added for report in found) == 31 == len(logged(stores))
    assert sum(report.known for report in found) == 29


def test_a_batch_that_cannot_be_written_harms_no_other(stores: DatabaseStores) -> None:
    broken = Events.build(user_id=["u", None], item_id=["i", "i"])  # type: ignore[list-item]
    with closing(Committer(stores)) as committer, ThreadPoolExecutor(20) as pool:
        good = [pool.submit(committer.append, like(str(n))) for n in range(10)]
        bad = [pool.submit(committer.append, broken) for _ in range(5)]
        assert [report.result().added for report in good] == [1] * 10
        for report in bad:
            with pytest.raises(StoreError):
                report.result()
    assert sorted(logged(stores)) == sorted(map(str, range(10)))


def test_a_store_that_does_not_answer_is_asked_once_for_all_that_wait(
    stores: DatabaseStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, held = [], threading.Event()

    @contextmanager
    def silent(self: DatabaseStores) -> Iterator[None]:
        asked.append(1)
        held.wait()
        raise StoreError("locked")
        yield

    monkeypatch.setattr(DatabaseStores, "transaction", silent)
    with closing(Committer(stores)) as committer, ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(committer.append, like("0"))]
        wait_for(lambda: bool(asked))
        waiting += [pool.submit(committer.append, like(str(n))) for n in range(1, 20)]
        wait_for(lambda: len(committer._writes) == 19)
        held.set()
        for each in waiting:
            with pytest.raises(StoreError, match="locked"):
                each.result()
    assert len(asked) == 2


def test_what_was_written_though_it_seemed_not_to_be_is_there_once(
    stores: DatabaseStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tried, held = DatabaseStores.transaction, [], threading.Event()

    @contextmanager
    def doubtful(self: DatabaseStores) -> Iterator[None]:
        tried.append(1)
        held.wait()
        with write(self):
            yield
        if len(tried) == 2:
            raise RuntimeError("the answer was lost")

    monkeypatch.setattr(DatabaseStores, "transaction", doubtful)
    nameless = Events.build(user_id=["u", "u"], item_id=["i", "j"])
    with closing(Committer(stores)) as committer, ThreadPoolExecutor(3) as pool:
        reports = [pool.submit(committer.append, nameless)]
        wait_for(lambda: bool(tried))
        reports += [pool.submit(committer.append, nameless) for _ in range(2)]
        wait_for(lambda: len(committer._writes) == 2)
        held.set()
        for report in reports:
            report.result()
    assert (len(tried), len(logged(stores))) == (4, 6)


def test_what_somebody_was_shown_is_erased_before_it_is_logged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'films.db'}"
    stores = open_stores(url)
    service = Service(films_system(), stores, clock=lambda: NOW, committer=Committer(stores))
    service.record(Events.build(user_id=["kim"], item_id=["alien"], event="like"))
    served = service.recommend(RecommendRequest("kim", 3))
    assert service.records.remove_person("kim") == 1 + 1
    service.close()
    with closing(open_stores(url)) as again, pytest.raises(NotFoundError):
        again.impressions.read(served.recommendation_id)


def test_a_service_that_commits_for_many_logs_what_it_showed_before_it_closes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'films.db'}"
    stores = open_stores(url)
    service = Service(films_system(), stores, clock=lambda: NOW, committer=Committer(stores))
    assert service.record(Events.build(user_id=["kim"], item_id=["alien"], event="like")).added == 1
    served = [service.recommend(RecommendRequest("kim")) for _ in range(AHEAD // 100)]
    assert served[0].rung == "personal"
    service.close()
    with pytest.raises(StoreError, match="closed"):
        service.record(like("late"))
    with closing(open_stores(url)) as again:
        for each in served:
            assert list(again.impressions.read(each.recommendation_id).item_id) == [item.item_id for item in each.items]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_shop(tmp_path_factory.mktemp("shop"))[1]


@contextmanager
def serving(store: str, artifact: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--store", store, "--artifact", str(artifact), "--port", str(port)]
    with (
        subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=READY_S) as client,
    ):
        try:
            while server.poll() is None:
                try:
                    if client.get("/api/health/ready").status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    continue
            assert server.poll() is None
            yield server, client
        finally:
            server.kill()


def test_no_acknowledged_event_is_lost_or_doubled_when_a_server_is_killed(artifact: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    generator = np.random.default_rng(KILLS)
    acknowledged: set[str] = set()
    sent: list[str] = []

    def send(client: httpx.Client, who: int, life: int) -> None:
        for n in range(100_000):
            ids = [f"{life}-{who}-{n}-{row}" for row in range(3)]
            sent.extend(ids)
            rows = [{"user_id": f"u{who}", "item_id": "i1", "event": "like", "event_id": name} for name in ids]
            try:
                answer = client.post("/api/v1/events", json=rows)
            except httpx.TransportError:
                return
            assert answer.json() == {"added": 3, "known": 0}
            acknowledged.update(ids)

    for life in range(KILLS):
        with serving(store, artifact) as (server, client), ThreadPoolExecutor(8) as pool:
            senders = [pool.submit(send, client, who, life) for who in range(8)]
            least = len(acknowledged) + int(generator.integers(1, 200))
            while len(acknowledged) < least:
                assert not any(sender.done() for sender in senders)
            server.send_signal(signal.SIGKILL)
            for sender in senders:
                sender.result()
    with closing(open_stores(store)) as stores:
        kept = logged(stores)
    assert len(kept) == len(set(kept))
    assert acknowledged <= set(kept) <= set(sent)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
