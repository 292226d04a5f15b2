"""Events are taken in from a stream of Redis: each of them, and each once."""

import csv
import json
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import test_follow
from servers import PROGRAM
from test_follow import NOON, Step, logged

from zhiyin.app.follow import FollowReport, FollowRequest, follow
from zhiyin.core.errors import InputError
from zhiyin.core.events import Events
from zhiyin.events.streams import FollowedStream
from zhiyin.storage.opening import open_stores

STREAM, GROUP = "orders", "zhiyin:default"


class Queue:
    """A server of Redis with its socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        options = {"port": "0", "save": "", "unixsocket": str(folder / "s"), "dir": str(folder)}
        self._words = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.path = str(folder / "s")
        self.url = f"unix://{self.path}#{STREAM}"
        self.client: Any = redis.Redis(unix_socket_path=self.path)
        self.start()

    def start(self) -> None:
        self._server = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                assert self._server.poll() is None
            else:
                return

    def stop(self) -> None:
        """With all that it holds."""
        self._server.kill()
        self._server.wait()

    def add(self, *entries: dict[str, Any]) -> None:
        for entry in entries:
            self.client.xadd(STREAM, entry)

    def undone(self) -> int:
        pending: dict[str, int] = self.client.xpending(STREAM, GROUP)
        return pending["pending"]


@pytest.fixture
def queue() -> Iterator[Queue]:
    if shutil.which("redis-server") is None:
        pytest.skip("no Redis server is installed")
    # A socket's path is short; pytest's own folders are not.
    with tempfile.TemporaryDirectory(prefix="rd") as folder:
        server = Queue(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {"user_id": "u", "item_id": f"i{number}", "timestamp": NOON + number, **more}


def followed(store: str, queue: Queue, *steps: Step) -> FollowReport:
    return test_follow.followed(store, [], *steps, streams=[queue.url])


def test_entries_are_taken_in_as_they_come_and_once(store: str, queue: Queue) -> None:
    first = followed(store, queue, lambda: queue.add(entry(1), entry(2)), lambda: queue.add(entry(3)))
    assert first == FollowReport(read=3, added=3, known=0, refused=0)
    assert followed(store, queue, lambda: queue.add(entry(4))) == FollowReport(1, 1, 0, 0)
    assert logged(store) == ["i1", "i2", "i3", "i4"]
    assert queue.undone() == 0


def test_an_entry_is_fields_or_json_and_known_by_its_own_id_and_time(store: str, queue: Queue) -> None:
    queue.client.xadd(STREAM, {"user": "u", "item": "a", "event": "purchase", "value": "2.5"}, id=f"{NOON}-7")
    queue.add(
        {"json": json.dumps({"user_id": "u", "item_id": "b", "rating": 4, "timestamp": NOON, "event_id": "mine"})}
    )
    followed(store, queue)
    stores = open_stores(store)
    events = Events.concat(stores.events.read())
    stores.close()
    known_by = queue.client.get(f"{STREAM}:zhiyin").decode()
    assert list(events.event_id) == [f"{known_by}:{NOON}-7", "mine"]
    assert list(zip(events.item_id, events.event, events.value, events.timestamp, strict=True)) == [
        ("a", "purchase", 2.5, NOON),
        ("b", "rating", 4.0, NOON),
    ]


def test_what_is_refused_is_listed_by_its_id_and_does_not_come_again(store: str, queue: Queue, tmp_path: Path) -> None:
    queue.add(
        entry(1), {"user_id": "u"}, {"json": " "}, {"user_id": b"\xff\xfe"}, entry(2, timestamp="long ago"), entry(3)
    )
    ids = [identifier.decode() for identifier, _ in queue.client.xrange(STREAM)]
    assert followed(store, queue) == FollowReport(read=6, added=2, known=0, refused=4)
    assert followed(store, queue) == FollowReport(0, 0, 0, 0)
    (path,) = tmp_path.glob("*refused.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        told = [(line["file"], line["value"].partition(":")[0]) for line in csv.DictReader(file)]
    assert sorted(told) == [(STREAM, identifier) for identifier in ids[1:5]]


def test_what_was_not_settled_comes_again_and_is_known(
    store: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add(entry(1), {"user_id": "u", "item_id": "i2", "event_id": " ", "timestamp": " "})
    settled = FollowedStream.settled

    def once(stream: FollowedStream) -> None:
        monkeypatch.setattr(FollowedStream, "settled", settled)

    monkeypatch.setattr(FollowedStream, "settled", once)
    assert followed(store, queue) == FollowReport(read=4, added=2, known=2, refused=0)
    assert (logged(store), queue.undone()) == (["i1", "i2"], 0)


def test_what_another_reader_left_is_taken_over(store: str, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.add(entry(1), entry(2))
    followed(store, queue)
    queue.add(entry(3), entry(4))
    queue.client.xreadgroup(GROUP, "gone", {STREAM: ">"})
    assert followed(store, queue).read == 0
    monkeypatch.setattr("zhiyin.events.streams.ABANDONED_MS", 0)
    queue.client.xdel(STREAM, queue.client.xrange(STREAM)[-1][0])
    assert followed(store, queue) == FollowReport(1, 1, 0, 0)
    assert (logged(store), queue.undone()) == (["i1", "i2", "i3"], 0)


def test_streams_of_one_name_are_told_apart_and_groups_have_all_of_one(store: str, queue: Queue) -> None:
    other = redis.Redis(unix_socket_path=queue.path, db=1)
    for number in range(3):
        queue.client.xadd(STREAM, {"user_id": "u", "item_id": f"a{number}"}, id=f"{NOON}-{number + 1}")
        other.xadd(STREAM, {"user_id": "u", "item_id": f"b{number}"}, id=f"{NOON}-{number + 1}")
    there, elsewhere = queue.url, queue.url.replace("#", "?db=1#")
    assert test_follow.followed(store, [], streams=[there, elsewhere]).added == 6
    assert test_follow.followed(store, [], streams=[there], group="others") == FollowReport(3, 0, 3, 0)


def test_it_goes_on_when_the_server_comes_back_with_nothing(
    store: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zhiyin.events.streams.PAUSE_S", 0.0)
    report = followed(store, queue, lambda: queue.add(entry(1)), queue.stop, queue.start, lambda: queue.add(entry(2)))
    assert (report.added, logged(store)) == (2, ["i1", "i2"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://:secret@127.0.0.1:1/0", "name the stream"),
        ("redis://:secret@127.0.0.1:1/0#orders", "cannot be read"),
        ("redis://:secret@127.0.0.1:port/0#orders", "no address"),
        ("redis://:sec#secret@127.0.0.1:1/0#orders", "no address"),
        ("redis://:secret@127.0.0.1:1/0?protocol=3#orders", "no address"),
        ("redis://:secret@127.0.0.1:1/0?socket_timeout=x#orders", "no address"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(store: str, address: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        follow(FollowRequest([], store, streams=[address]), lambda _: True)
    assert "secret" not in str(told.value)


def test_nothing_is_lost_or_doubled_when_it_is_killed(store: str, queue: Queue) -> None:
    written = 0
    words = [str(PROGRAM), "follow", queue.url, "--store", store]
    for _ in range(3):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(200):
                queue.add({"user_id": "u", "item_id": f"i{written}"})
                written += 1
            while not logged(store):
                assert process.poll() is None
            process.kill()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        while len(logged(store)) < written:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert Counter(logged(store)) == Counter(f"i{number}" for number in range(written))
