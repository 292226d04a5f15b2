"""From an event to the next list, under a mixed load, over several processes.

    python benchmarks/freshness.py --model linear [--workers 2] [--rate 100] [--seconds 20] [--store URL] [--work DIR]
        [--at URL,URL --key KEY]

The shop is that of lists.py, in SQLite or, with --store, in a database that is there and empty. `zhiyin serve
--workers` answers on one core. Requests come at random moments, --rate a second: four of five ask for a list, the fifth
sends one event of a user and, when that is acknowledged, asks for their list at once, by another connection, which any
of the processes may answer. That list must be what the model says offline of a history with the event in it.

With --at, servers answer that are there already, over --store and what was trained for it in --work: what is sent to
one of them is asked of the next.

It ends with status 1 where a list does not know its event, or the 99th percentile from event to list is above 25 ms.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import numpy as np
from lists import LENGTH, TIMEOUT_SECONDS, list_of, made, on_a_core_of_its_own, trained
from moments import at_moments

from zhiyin.app.clock import now_ms
from zhiyin.app.loading import load_system
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.retrieval.topn import top_n
from zhiyin.storage.opening import open_stores

EVENTS, LATEST_MS = "/api/v1/events", 25.0
SENT_SHARE = 0.2


@dataclass(frozen=True)
class Told:
    """What a user did, when (epoch ms), and the list that came behind it. ms: from sending the event to that list."""

    user: str
    item: str
    when: int
    items: list[str]
    ms: float


async def mixed(
    bases: list[str], users: list[str], items: int, options: argparse.Namespace
) -> tuple[list[Told], list[float]]:
    """What became of events, and the ms of the other lists."""
    rate, seconds = options.rate, options.seconds
    generator = np.random.default_rng(5)
    sends = generator.random(int(rate * seconds)) < SENT_SHARE
    told: list[Told] = []
    waits: list[float] = []
    patience = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    key = {"X-API-Key": options.key} if options.key else {}
    async with aiohttp.ClientSession(connector=connector, timeout=patience, headers=key) as session:

        async def got(place: int, user: str) -> list[str]:
            async with session.get(bases[place % len(bases)] + list_of(user)) as response:
                if response.status != httpx.codes.OK:
                    raise SystemExit(f"{user}: {response.status} {await response.text()}")
                return [line["item"]["item_id"] for line in (await response.json())["items"]]

        async def client(place: int, _: float) -> None:
            if not sends[place]:
                asked = time.perf_counter()
                await got(place, users[place % len(users)])
                waits.append(1000 * (time.perf_counter() - asked))
                return
            # Of each user one event, so that no other one comes between it and the list.
            user, item, when = users[-1 - place % len(users)], f"i{generator.integers(items)}", now_ms()
            event = {"user_id": user, "item_id": item, "event": "click", "timestamp": when}
            sent = time.perf_counter()
            async with session.post(bases[place % len(bases)] + EVENTS, json=[event]) as response:
                if response.status != httpx.codes.OK:
                    raise SystemExit(f"event: {response.status} {await response.text()}")
            items_told = await got(place + 1, user)
            told.append(Told(user, item, when, items_told, 1000 * (time.perf_counter() - sent)))

        await at_moments(rate, seconds, 6, client)
    return told, waits


def stale(store: str, artifact: Path, told: list[Told]) -> int:
    """Lists that are not what the model says of the history as it is behind the event."""
    system, stores = load_system(artifact), open_stores(store)
    wrong = 0
    for each in told:
        log = stores.events.history(each.user, 20_000)
        scores = system.model.score([system.query(log, each.when)])[0]
        unseen = np.ones(len(scores), np.bool_)
        rows = system.items.rows(log.item_id)
        unseen[rows[rows != UNKNOWN]] = False
        wrong += each.items != list(system.items.ids[top_n(scores[None], LENGTH, unseen).rows[0]])
    stores.close()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--store")
    parser.add_argument("--at")
    parser.add_argument("--key")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measured(options, options.work or Path(folder))


def measured(options: argparse.Namespace, work: Path) -> int:
    items, people = 10_000, int(options.rate * options.seconds) + 1_000
    store = made(work, users=people, items=items, store=options.store)
    artifact = trained(work, store, options.model, options.minutes)
    users = [f"u{user}" for user in np.random.default_rng(2).permutation(people)]
    if options.at:
        there = options.at.split(",")
        told, waits = asyncio.run(mixed(there, users, items, options))
        print(f"{len(there)} servers that were there")
    else:
        with on_a_core_of_its_own(store, artifact, work, workers=options.workers) as (client, _):
            told, waits = asyncio.run(mixed([str(client.base_url).rstrip("/")], users, items, options))
        print(f"{options.workers} processes of one server")
    late = sorted(each.ms for each in told)
    waits.sort()
    wrong, last = stale(store, artifact, told), late[int(0.99 * len(late))]
    print(f"over {store.partition(':')[0]}, {options.rate:g} requests a second")
    print(f"{len(told):,} events, {wrong} lists behind them without them")
    print(f"from an event to its list: median {late[len(late) // 2]:.1f} ms, 99th percentile {last:.1f} ms")
    print(
        f"other lists: median {waits[len(waits) // 2]:.1f} ms, 99th percentile {waits[int(0.99 * len(waits))]:.1f} ms"
    )
    print(f"load average {os.getloadavg()[0]:.2f}")
    held = not wrong and last <= LATEST_MS
    if not held:
        print(f"MISSED: {LATEST_MS:g} ms")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
