"""Answers of other threads come to the event loop that waits for them, whatever else comes and goes."""

import asyncio
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from zhiyin.web.waiting import Answers


def test_every_answer_comes_whichever_thread_makes_it() -> None:
    answers = Answers()

    async def asked() -> list[int]:
        with ThreadPoolExecutor(8) as pool:
            waiting = [answers.of(pool.submit(lambda number: number * number, number)) for number in range(500)]
            return await asyncio.gather(*waiting)

    for _ in range(2):
        # A second loop, since the first one is closed by then.
        assert asyncio.run(asked()) == [number * number for number in range(500)]


def test_an_error_and_a_question_taken_back_come_too() -> None:
    answers, broken, gone, odd = Answers(), Future[int](), Future[int](), Future[int]()

    async def asked() -> None:
        waiting = answers.of(broken), answers.of(gone), answers.of(odd)
        odd.set_exception(StopIteration())
        broken.set_exception(ValueError("broken"))
        gone.cancel()
        with pytest.raises(ValueError, match="broken"):
            await waiting[0]
        with pytest.raises((asyncio.CancelledError, CancelledError)):
            await waiting[1]
        with pytest.raises(RuntimeError, match="StopIteration"):
            await waiting[2]

    asyncio.run(asked())


def test_who_does_not_wait_any_more_takes_the_question_back() -> None:
    answers, never, late = Answers(), Future[int](), Future[int]()

    async def asked() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answers.of(never), 0.001)
        late.set_running_or_notify_cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answers.of(late), 0.001)
        told = Future[int]()

        def tell() -> None:
            late.set_result(1)
            told.set_result(2)

        threading.Thread(target=tell).start()
        return await answers.of(told)

    assert asyncio.run(asked()) == 2
    assert never.cancelled()
