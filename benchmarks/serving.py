"""What benchmarks of a running system share: the command line, and `zhiyin serve` in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx


def command(name: str, store: str, artifact: Path, *options: object) -> list[str]:
    program = Path(sys.executable).with_name("zhiyin")
    return [str(word) for word in (program, name, "--store", store, "--artifact", artifact, *options)]


@contextmanager
def served(
    store: str, artifact: Path, *options: object, starting: float, timeout: float, log: Path | None = None
) -> Iterator[tuple[httpx.Client, int]]:
    """A client of `zhiyin serve`, once that is ready, and the number of its process.

    options: of the command. starting: seconds within which it must be. timeout: of a request, in seconds. log: where
    the server's goes, None for here.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        nullcontext() if log is None else log.open("wb") as told,
        subprocess.Popen(command("serve", store, artifact, "--port", port, *options), stderr=told) as server,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=timeout) as client:
                _wait_until_ready(client, server, starting)
                yield client, server.pid
        finally:
            server.terminate()


def _wait_until_ready(client: httpx.Client, server: subprocess.Popen[bytes], starting: float) -> None:
    deadline = time.monotonic() + starting
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if client.get("/api/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("zhiyin serve did not become ready")
