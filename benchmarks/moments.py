"""What is asked at random moments, whatever waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np

Told = TypeVar("Told")


async def at_moments(
    rate: float, seconds: float, seed: int, ask: Callable[[int, float], Awaitable[Told]]
) -> list[Told]:
    """What `ask` tells, in their order, which hears the place of each moment and when it is by `time.perf_counter`.

    rate: moments a second. Each question is begun at its moment: all begun at once, they would be late from the start.
    """
    told: dict[int, Told] = {}
    asking: set[asyncio.Task[None]] = set()

    async def one(place: int, moment: float) -> None:
        told[place] = await ask(place, moment)

    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    for place, moment in enumerate((time.perf_counter() + np.cumsum(gaps)).tolist()):
        if (early := moment - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        # Those that are done are let go: to look through a hundred thousand for garbage takes seconds.
        asking.add(task := asyncio.create_task(one(place, moment)))
        task.add_done_callback(asking.discard)
    await asyncio.gather(*asking)
    return [told[place] for place in range(len(gaps))]
