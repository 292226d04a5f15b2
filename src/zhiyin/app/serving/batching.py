"""Questions of one process, several answered at a time."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from zhiyin.core.errors import StoreError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

TOGETHER = 16
"""Questions that are answered together, at most: who comes first waits for all of them."""
PATIENCE_S = 0.05
"""How long a batch may take before another one begins beside it."""
THREADS = 16
"""Batches at a time, at most."""


class Batcher(Generic[Question, Answer]):
    """What is asked while others are answered waits, and is answered together: threads that answer side by side would
    only take the interpreter from each other, and what a batch needs is then read once. Where a batch takes longer than
    `patience_s`, as one does that finds the catalogue changed, others begin beside it.

    answer: the answers to questions, in their order; to one that has none, the error. To be closed.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Sequence[Answer | Exception]],
        *,
        together: int = TOGETHER,
        patience_s: float = PATIENCE_S,
        threads: int = THREADS,
    ) -> None:
        self._answer = answer
        self._together = together
        self._patience_s = patience_s
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()
        lock = threading.Lock()
        self._changed, self._done = threading.Condition(lock), threading.Condition(lock)
        self._running: set[int] = set()
        self._begun = 0
        self._began = 0.0
        self._watched = False
        self._closed = False
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def ask(self, question: Question) -> Future[Answer]:
        """Raises `StoreError` once closed."""
        answer: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise StoreError("the service is closed: nothing is answered any more")
            self._waiting.append((question, answer))
            self._man()
            if not self._running or not self._watched:
                self._changed.notify()
        return answer

    def settle(self) -> None:
        """Returns when all is answered whose answering had begun."""
        with self._changed:
            before = set(self._running)
            self._done.wait_for(lambda: not before & self._running)

    def close(self) -> None:
        """Returns when all that was asked is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _man(self) -> None:
        """One more thread where none is idle, as it is until it takes a batch."""
        if self._idle or len(self._threads) >= self._most:
            return
        self._idle += 1
        self._threads.append(threading.Thread(target=self._run, name=f"zhiyin-lists-{len(self._threads)}", daemon=True))
        self._threads[-1].start()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            number, taken = batch
            answers: Sequence[Answer | Exception]
            try:
                answers = self._answer([question for question, _ in taken])
                if len(answers) != len(taken):
                    raise RuntimeError(f"{len(answers)} answers to {len(taken)} questions")
            except BaseException as error:
                # Whatever it is, who asked must hear of it, and others must be answered after them.
                told = error if isinstance(error, Exception) else RuntimeError(repr(error))
                answers = [told] * len(taken)
            for (_, waiting), answer in zip(taken, answers, strict=True):
                if isinstance(answer, Exception):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)
            with self._changed:
                self._running.discard(number)
                self._idle += 1
                self._done.notify_all()

    def _take(self) -> tuple[int, list[tuple[Question, Future[Answer]]]] | None:
        """The next batch and its number, as soon as it may begin; None once closed and all is answered."""
        with self._changed:
            while True:
                if self._waiting and self._may_begin():
                    first = [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
                    # Who has gone meanwhile is not answered.
                    if taken := [each for each in first if each[1].set_running_or_notify_cancel()]:
                        self._begun, self._began = self._begun + 1, time.monotonic()
                        self._running.add(self._begun)
                        self._idle -= 1
                        if self._waiting:
                            self._man()
                            self._changed.notify()
                        return self._begun, taken
                elif self._closed and not self._waiting:
                    return None
                else:
                    self._wait()

    def _may_begin(self) -> bool:
        return not self._running or time.monotonic() >= self._began + self._patience_s

    def _wait(self) -> None:
        """For a change; one of the threads watches, where something waits, whether the batch before takes too long."""
        if not self._waiting or self._watched:
            self._changed.wait()
            return
        self._watched = True
        self._changed.wait(max(0.0, self._began + self._patience_s - time.monotonic()))
        self._watched = False
