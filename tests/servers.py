"""Servers for clients that know nothing of Python, and a small shop to be served."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from zhiyin.app.service import Service
from zhiyin.web.application import create_app
from zhiyin.web.shedding import SheddingProtocol

PROGRAM = Path(sys.executable).with_name("zhiyin")


@contextmanager
def served(
    service: Service, *, keyed: bool = False, connections: int | None = None, origins: Sequence[str] = ()
) -> Iterator[str]:
    """Its address, once it answers. connections: that there may be at a time."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        application = create_app(service, keyed=keyed, origins=origins)
        config = uvicorn.Config(
            application, http=SheddingProtocol, log_level="warning", ws="none", limit_concurrency=connections
        )
        server = Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert started.wait(30)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def small_shop(folder: Path) -> tuple[str, Path]:
    """The URL of a store of thirty people and twenty items, and the folder of a system that is trained on it."""
    generator = np.random.default_rng(0)
    rows = [f"u{user},i{item}" for user in range(30) for item in generator.choice(20, 6, replace=False)]
    (folder / "events.csv").write_text("user_id,item_id\n" + "\n".join(rows), "utf-8")
    store, system = f"sqlite:///{folder / 'shop.db'}", folder / "system"
    for words in (("ingest", "events.csv"), ("train", "--model", "popularity", "--out", "system")):
        subprocess.run([str(PROGRAM), *words, "--store", store], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return store, system
