"""Writes of one process, several in a transaction."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from zhiyin.core.errors import BrokenRowError, StoreError
from zhiyin.core.events import Events
from zhiyin.core.stores import AppendReport, ShownList, Stores

LOG = logging.getLogger(__name__)

DELAY_S = 0.1
"""How long what nobody waits for may wait for what somebody does."""
TOGETHER = 200
"""Writes that somebody waits for in one transaction, at most."""
AHEAD = 2_000
"""Lists that may wait to be logged; who serves more waits with them."""


@dataclass(frozen=True)
class _Write:
    """What is to be done, and who waits for it; None where nobody does."""

    do: Callable[[], Any]
    waiting: Future[Any] | None = None

    def done(self, result: Any) -> None:
        if self.waiting is not None:
            self.waiting.set_result(result)

    def failed(self, error: BaseException) -> None:
        if self.waiting is not None:
            self.waiting.set_exception(error)
        else:
            LOG.error("what was shown could not be logged: %s", error)


class Committer:
    """What comes while one transaction is written waits, and is written together in the next: a disk that can be sure
    of a few hundred transactions a second then takes in many more events.

    Events are durable when `append` returns. Lists are logged a moment after they were shown: a process that dies loses
    those of the last `DELAY_S`. Safe to use from several threads; to be closed.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._writes: deque[_Write] = deque()
        self._shown: list[ShownList] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="zhiyin-committer", daemon=True)
        self._thread.start()

    def append(self, events: Events) -> AppendReport:
        """As `EventStore.append`: durable when it returns."""
        # Whoever tries again has the same ids, so that what was written though it seemed not to be is there once.
        named = events.identified()
        waiting: Future[AppendReport] = Future()
        self._put(_Write(lambda: self._stores.events.append(named), waiting))
        return waiting.result()

    def log(self, shown: Sequence[ShownList]) -> None:
        """Logs lists as they are shown, soon."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._shown) < AHEAD)
            self._check_open()
            self._shown += shown
            if len(self._shown) == len(shown):
                self._changed.notify_all()

    def flush(self) -> None:
        """Returns when all that came before is written."""
        waiting: Future[None] = Future()
        self._put(_Write(lambda: None, waiting))
        waiting.result()

    def close(self) -> None:
        """Returns when all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, write: _Write) -> None:
        with self._changed:
            self._check_open()
            self._writes.append(write)
            self._changed.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the service is closed: nothing is written any more")

    def _run(self) -> None:
        while True:
            writes, shown = self._take()
            if not writes and not shown:
                return
            self._write(writes, shown)

    def _take(self) -> tuple[list[_Write], list[ShownList]]:
        """Waits for what is to be written; nothing once closed and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._writes or self._shown)
            self._changed.wait_for(lambda: self._closed or self._writes, DELAY_S)
            writes = [self._writes.popleft() for _ in range(min(TOGETHER, len(self._writes)))]
            shown, self._shown = self._shown, []
            self._changed.notify_all()
            return writes, shown

    def _write(self, writes: Sequence[_Write], shown: Sequence[ShownList]) -> None:
        """All in one transaction, or where a row is broken each in its own, so that it harms no other."""
        together = [*writes, *([self._logging(shown)] if shown else [])]
        try:
            self._in_one(together)
        except BaseException as error:
            # Whatever it is, who waits must hear of it, and others must be written after them.
            # A store that does not answer one does not answer the next either; who asks again has waited less.
            silent = isinstance(error, StoreError) and not isinstance(error, BrokenRowError)
            if silent or len(writes) + len(shown) == 1:
                for write in together:
                    write.failed(error)
                return
            for write in [*writes, *(self._logging([each]) for each in shown)]:
                self._alone(write)

    def _alone(self, write: _Write) -> None:
        try:
            self._in_one([write])
        except BaseException as error:
            write.failed(error)

    def _in_one(self, writes: Sequence[_Write]) -> None:
        with self._stores.transaction():
            results = [write.do() for write in writes]
        for write, result in zip(writes, results, strict=True):
            write.done(result)

    def _logging(self, shown: Sequence[ShownList]) -> _Write:
        return _Write(lambda: self._stores.impressions.log(shown))
