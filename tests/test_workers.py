"""Several processes at one address are one server to those who ask."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from servers import PROGRAM, small_shop

START_S = 120.0


class Served:
    """A server of two workers."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self.address = address

    def ask(self, method: str, path: str, **sent: object) -> httpx.Response:
        """By a connection of its own, so that any of the workers may answer."""
        return httpx.request(method, self.address + path, timeout=START_S, **sent)  # type: ignore[arg-type]

    def list_of(self, user: str) -> list[str]:
        items = self.ask("GET", f"/api/v1/recommend/{user}?n=20").raise_for_status().json()["items"]
        return [line["item"]["item_id"] for line in items]

    def workers(self) -> set[int]:
        """Those of its children that answer; one watches over what they share."""
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        answering = set()
        for child in told.split():
            # One that ended meanwhile tells nothing.
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    answering.add(int(child))
        return answering

    def wait_until_ready(self) -> None:
        while self.process.poll() is None:
            try:
                if self.ask("GET", "/api/health/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
        raise AssertionError("the server ended before it was ready")


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    store, artifact = small_shop(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--store", store, "--artifact", str(artifact), "--port", str(port), "--workers", "2"]
    with subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        served = Served(process, f"http://127.0.0.1:{port}")
        try:
            served.wait_until_ready()
            yield served
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("shop")) as served:
        yield served
    assert served.process.returncode == 0


def test_what_one_worker_acknowledged_every_one_knows(server: Served) -> None:
    left = server.list_of("visitor")
    while left:
        taken = left[0]
        event = {"user_id": "visitor", "item_id": taken, "event": "like"}
        assert server.ask("POST", "/api/v1/events", json=event).json() == {"added": 1, "known": 0}
        left.remove(taken)
        for _ in range(3):
            assert sorted(server.list_of("visitor")) == sorted(left)


def test_measures_are_of_all_workers(server: Served) -> None:
    def lists() -> float:
        lines = server.ask("GET", "/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("zhiyin_lists_served_total"))

    before = lists()
    for _ in range(20):
        server.list_of("u1")
    assert lists() == before + 20


def test_a_worker_that_is_killed_is_replaced_while_others_answer(server: Served) -> None:
    before = server.workers()
    assert len(before) == 2
    os.kill(before.pop(), signal.SIGKILL)
    answered = 0
    while len(server.workers() - before) != 1 or answered < 20:
        try:
            answered += len(server.list_of("u2")) > 0
        except httpx.TransportError:
            # Connections that were waiting for the one that was killed end with it.
            continue
    assert before < server.workers()


def test_workers_end_when_who_watches_over_them_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        workers = served.workers()
        served.process.kill()
        served.process.wait()
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            pass
        with pytest.raises(httpx.ConnectError):
            served.ask("GET", "/api/health/live")


def test_workers_that_cannot_begin_are_not_begun_again_and_again(tmp_path: Path) -> None:
    words = ["serve", "--store", f"sqlite:///{tmp_path / 'shop.db'}", "--artifact", str(tmp_path), "--workers", "2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        wrong = ["--language-model", "nowhere", "--port", str(free.getsockname()[1])]
    ran = subprocess.run([PROGRAM, *words, *wrong], capture_output=True, text=True, timeout=START_S, check=False)
    assert ran.returncode == 2
    assert "cannot begin" in ran.stderr
    unreadable = subprocess.run(
        [PROGRAM, *words, "--certificate", str(tmp_path / "none.pem")], capture_output=True, text=True, check=False
    )
    assert (unreadable.returncode, "TLS" in unreadable.stderr) == (2, True)
