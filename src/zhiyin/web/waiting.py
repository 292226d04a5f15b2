"""Answers that other threads make, brought to the event loop that waits for them."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Answer = TypeVar("Answer")


class Answers:
    """Of one application. A loop is woken once for all that is answered at about the same time: to be woken for each
    takes it as long as to read a question.
    """

    def __init__(self) -> None:
        self._letters: WeakKeyDictionary[asyncio.AbstractEventLoop, _Letters] = WeakKeyDictionary()

    def of(self, asked: Future[Answer]) -> asyncio.Future[Answer]:
        """What `asked` comes to, for the loop that runs now; who does not wait any more takes the question back."""
        loop = asyncio.get_running_loop()
        letters = self._letters.get(loop)
        if letters is None:
            letters = self._letters[loop] = _Letters()
        waiting: asyncio.Future[Answer] = loop.create_future()
        waiting.add_done_callback(lambda each: asked.cancel() if each.cancelled() else None)
        asked.add_done_callback(lambda done: letters.put(loop, waiting, done))
        return waiting


class _Letters:
    """What has come for one loop and was not brought."""

    def __init__(self) -> None:
        self._come: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._called = False

    def put(self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Any], done: Future[Any]) -> None:
        self._come.append((waiting, done))
        if not self._called and not loop.is_closed():
            self._called = True
            loop.call_soon_threadsafe(self._bring)

    def _bring(self) -> None:
        # What comes from now on calls again, so that nothing is left lying.
        self._called = False
        while self._come:
            waiting, done = self._come.popleft()
            if waiting.done():
                continue
            if done.cancelled():
                waiting.cancel()
            elif (error := done.exception()) is not None:
                # An event loop takes any error but this one, and would bring nobody else's answer any more.
                waiting.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
            else:
                waiting.set_result(done.result())
