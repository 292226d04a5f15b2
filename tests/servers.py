"""The application on a free port of the loopback, for clients that know nothing of Python."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from zhiyin.app.service import Service
from zhiyin.web.application import create_app


@contextmanager
def served(service: Service, *, keyed: bool = False) -> Iterator[str]:
    """Its address, once it answers."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(create_app(service, keyed=keyed), log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert started.wait(30)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
