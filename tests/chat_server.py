"""A stand-in for a server that speaks OpenAI's `POST /v1/chat/completions`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class ChatServer(ThreadingHTTPServer):
    """answer: from a request to the content of an answer, or to all of it as bytes.

    silent: answers begin when the server ends. dripping: headers that never end.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ChatHandler)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Callable[[dict[str, Any]], str | bytes] = lambda asked: "5"
        self.status_of: Callable[[dict[str, Any]], int] = lambda asked: 200
        self.silent: Callable[[dict[str, Any]], bool] = lambda asked: False
        self.dripping = False
        self.stopped = Event()

    @property
    def argument(self) -> str:
        return f"org/model@http://127.0.0.1:{self.server_port}/v1"


class ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        self.server.keys.append(self.headers["Authorization"])
        with suppress(ConnectionError):
            if self.server.silent(asked):
                self.server.stopped.wait()
            if self.server.dripping:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
                while not self.server.stopped.wait(0.005):
                    self.wfile.write(b"z")
                return
            answer = self.server.answer(asked)
            self.send_response(self.server.status_of(asked))
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else chat(answer))

    def log_message(self, *arguments: Any) -> None:
        pass


def chat(content: str | None, *places: dict[str, float]) -> bytes:
    """The body of an answer; places: for each token the logarithms of the likeliest, its own first."""
    told = [
        {"token": next(iter(place)), "top_logprobs": [{"token": t, "logprob": p} for t, p in place.items()]}
        for place in places
    ]
    choice = {"message": {"role": "assistant", "content": content}, "logprobs": {"content": told} if told else None}
    return json.dumps({"choices": [choice]}).encode()


def told(asked: dict[str, Any]) -> dict[str, str]:
    """The data of a request, as a model would read it."""
    data: dict[str, str] = json.loads(asked["messages"][1]["content"].partition("\n")[0])
    return data


@contextmanager
def running() -> Iterator[ChatServer]:
    with ChatServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()
