"""Questions of one process, several answered at a time."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from zhiyin.core.errors import StoreError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

TOGETHER = 16
"""Questions that are answered together, at most: who comes first waits for all of them."""


class Batcher(Generic[Question, Answer]):
    """What is asked while others are answered waits, and is answered together: threads that answer side by side would
    only take the interpreter from each other, and what a batch needs is then read once.

    answer: the answers to questions, in their order; to one that has none, the error. side_by_side: threads, which
    begin with the first question; several take one question each. To be closed.
    """

    def __init__(
        self, answer: Callable[[Sequence[Question]], Sequence[Answer | Exception]], side_by_side: int = 1
    ) -> None:
        self._answer = answer
        self._together = TOGETHER if side_by_side == 1 else 1
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"zhiyin-lists-{number}", daemon=True)
            for number in range(side_by_side)
        ]
        self._started = False

    def ask(self, question: Question) -> Future[Answer]:
        """Raises `StoreError` once closed."""
        answer: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise StoreError("the service is closed: nothing is answered any more")
            self._waiting.append((question, answer))
            self._start()
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Returns when all that was asked is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads if self._started else ():
            thread.join()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def _run(self) -> None:
        while taken := self._take():
            questions = [question for question, _ in taken]
            try:
                answers = self._answer(questions)
            except Exception as error:
                answers = [error] * len(taken)
            for (_, waiting), answer in zip(taken, answers, strict=True):
                # Who asked may have gone, and then takes no answer.
                if not waiting.set_running_or_notify_cancel():
                    continue
                if isinstance(answer, Exception):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    def _take(self) -> list[tuple[Question, Future[Answer]]]:
        """Waits for a question; nothing once closed and all are answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
