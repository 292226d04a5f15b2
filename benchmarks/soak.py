"""A server that takes in a million events while it answers: memory and waiting, quarter by quarter.

    python benchmarks/soak.py --model linear [--minutes 20] [--events 1000000] [--lists 100] [--work DIR]

The shop is that of lists.py. `zhiyin serve` answers on one core: batches of a hundred events come at an even pace, of
newcomers, so that the histories of the shop's people stay as long as they are, and lists for these are asked for at
random moments, --lists a second. Memory is that of the process, at the end of each quarter.

It ends with status 1 where a request failed, or memory or the 99th percentile of lists in the last quarter is more than
5 % above that of the second.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import httpx
import numpy as np
from freshness import EVENTS
from lists import TIMEOUT_SECONDS, list_of, made, on_a_core_of_its_own, trained
from memory import resident

USERS, NEWCOMERS, ITEMS, BATCH, QUARTERS = 3_000, 200_000, 10_000, 100, 4
GROWTH = 1.05


async def soaked(base: str, process: int, options: argparse.Namespace) -> tuple[list[list[float]], list[float], int]:
    """By quarter the ms of lists, and the MiB of the server at its end; and the events that were acknowledged."""
    generator = np.random.default_rng(7)
    seconds = 60 * options.minutes
    moments = np.cumsum(generator.exponential(1 / options.lists, int(options.lists * seconds)))
    waits: list[list[float]] = [[] for _ in range(QUARTERS)]
    memory: list[float] = []
    known = 0
    patience = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0), timeout=patience) as session:
        began = time.perf_counter()

        async def until(moment: float) -> None:
            await asyncio.sleep(max(0.0, began + moment - time.perf_counter()))

        async def answered(asking: "aiohttp.client._RequestContextManager") -> bytes:
            async with asking as response:
                body = await response.read()
                if response.status != httpx.codes.OK:
                    raise SystemExit(f"{response.status} {body!r}")
                return body

        async def lists() -> None:
            running = set()
            for moment in moments:
                await until(moment)
                running.add(task := asyncio.create_task(one(moment)))
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)

        async def one(moment: float) -> None:
            asked = time.perf_counter()
            await answered(session.get(list_of(f"u{generator.integers(USERS)}")))
            quarter = min(QUARTERS - 1, int(QUARTERS * moment / seconds))
            waits[quarter].append(1000 * (time.perf_counter() - asked))

        async def events() -> None:
            nonlocal known
            batches = options.events // BATCH
            for batch in range(batches):
                await until(batch * seconds / batches)
                users, items = (generator.integers(most, size=BATCH) for most in (NEWCOMERS, ITEMS))
                told = zip(users, items, strict=True)
                rows = [{"user_id": f"newcomer-{user}", "item_id": f"i{item}", "event": "click"} for user, item in told]
                await answered(session.post(EVENTS, json=rows))
                known += BATCH

        async def watched() -> None:
            for quarter in range(QUARTERS):
                await until((quarter + 1) * seconds / QUARTERS)
                memory.append(resident(process)["VmRSS"] / 1024)

        await asyncio.gather(lists(), events(), watched())
    return waits, memory, known


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--lists", type=float, default=100)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measured(options, options.work or Path(folder))


def measured(options: argparse.Namespace, work: Path) -> int:
    store = made(work, USERS, ITEMS)
    artifact = trained(work, store, options.model, options.minutes)
    with on_a_core_of_its_own(store, artifact, work) as (client, process):
        waits, memory, known = asyncio.run(soaked(str(client.base_url), process, options))
    late = [sorted(each)[int(0.99 * len(each))] for each in waits]
    print(f"{known:,} events in {options.minutes:g} minutes, {sum(map(len, waits)):,} lists")
    for quarter in range(QUARTERS):
        print(f"quarter {quarter + 1}: p99 {late[quarter]:.1f} ms, {memory[quarter]:.0f} MiB")
    print(f"load average {os.getloadavg()[0]:.2f}")
    held = late[-1] <= GROWTH * late[1] and memory[-1] <= GROWTH * memory[1]
    if not held:
        print(f"MISSED: at most {GROWTH:g} times the second quarter")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
