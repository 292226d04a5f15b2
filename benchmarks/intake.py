"""Events a second that are acknowledged, beside what the bare database writes with the same commits.

    python benchmarks/intake.py [--seconds 10] [--clients 8] [--batch 100] [--store URL] [--work DIR]

`zhiyin serve` answers on one core, over SQLite or, with --store, a database that is there and empty. --clients send
batches of --batch events, and then single ones, each again when it is acknowledged: durable, by then. Then the driver
of the database writes such rows into a table like the store's, on the same core, in transactions of as many rows.

It ends with status 1 where an acknowledged event is not in the log, or the server takes in less than half.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psycopg
from freshness import EVENTS
from lists import TIMEOUT_SECONDS, made, on_a_core_of_its_own, trained

from zhiyin.app.clock import now_ms
from zhiyin.core.ids import fresh_id
from zhiyin.storage.opening import open_stores

SHARE = 0.5
COLUMNS = ("tenant", "event_id", "user_id", "item_id", "event", "value", "timestamp", "session_id", "recommendation_id")
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "cache_size=-65536")
TABLE = (
    "CREATE TABLE bare (seq {serial}, tenant TEXT NOT NULL, event_id TEXT NOT NULL, user_id TEXT NOT NULL,"
    " item_id TEXT NOT NULL, event TEXT NOT NULL, value FLOAT, timestamp BIGINT, session_id TEXT,"
    " recommendation_id TEXT, UNIQUE (tenant, event_id))"
)
INDEX = "CREATE INDEX bare_by_user ON bare (tenant, user_id, timestamp, seq)"


def event(place: int) -> dict[str, Any]:
    return {
        "event_id": fresh_id(),
        "user_id": f"u{place * 7919 % 3000}",
        "item_id": f"i{place % 999}",
        "event": "click",
    }


async def sent(base: str, batch: int, clients: int, seconds: float) -> float:
    """Acknowledged events a second."""
    known, end = 0, time.perf_counter() + seconds
    patience = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0), timeout=patience) as session:

        async def client(place: int) -> None:
            nonlocal known
            while time.perf_counter() < end:
                rows = [event(place + row) for row in range(batch)]
                place += batch
                async with session.post(EVENTS, json=rows) as response:
                    if response.status != httpx.codes.OK:
                        raise SystemExit(f"{response.status} {await response.text()}")
                    known += (await response.json())["added"]

        await asyncio.gather(*(client(100_000 * number) for number in range(clients)))
    return known / seconds


def bare(work: Path, store: str, batch: int, seconds: float) -> float:
    """Events a second by the driver alone."""
    marks = "?" if store.startswith("sqlite") else "%s"
    statement = f"INSERT INTO bare ({', '.join(COLUMNS)}) VALUES ({', '.join(marks for _ in COLUMNS)})"  # noqa: S608
    statement += " ON CONFLICT (tenant, event_id) DO NOTHING"

    def rows(place: int) -> list[tuple[Any, ...]]:
        told = [event(place + row) for row in range(batch)]
        return [
            ("default", e["event_id"], e["user_id"], e["item_id"], e["event"], None, now_ms(), None, None) for e in told
        ]

    if store.startswith("sqlite"):
        (work / "bare.db").unlink(missing_ok=True)
        connection = sqlite3.connect(work / "bare.db", isolation_level=None)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        for made_of in (TABLE.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT"), INDEX):
            connection.execute(made_of)

        def write(told: list[tuple[Any, ...]]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, told)
            connection.execute("COMMIT")

        return written(write, rows, batch, seconds)
    with psycopg.connect(store) as server:
        server.execute("DROP TABLE IF EXISTS bare")
        for made_of in (TABLE.format(serial="BIGSERIAL PRIMARY KEY"), INDEX):
            server.execute(made_of)
        server.commit()

        def write_there(told: list[tuple[Any, ...]]) -> None:
            with server.cursor() as cursor:
                cursor.executemany(statement, told)
            server.commit()

        found = written(write_there, rows, batch, seconds)
        server.execute("DROP TABLE bare")
        server.commit()
        return found


def written(
    write: Callable[[list[tuple[Any, ...]]], None], rows: Callable[[int], list[tuple[Any, ...]]], n: int, seconds: float
) -> float:
    """Events a second; making them is not counted."""
    spent, place = 0.0, 0
    while spent < seconds:
        told = rows(place)
        began = time.perf_counter()
        write(told)
        spent, place = spent + time.perf_counter() - began, place + n
    return place / spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--store")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measured(options, options.work or Path(folder))


def measured(options: argparse.Namespace, work: Path) -> int:
    store = made(work, users=300, items=1_000, history=10, store=options.store)
    artifact = trained(work, store, "popularity", 5)
    before = counted(store)
    with on_a_core_of_its_own(store, artifact, work) as (client, _):
        base = str(client.base_url)
        many = asyncio.run(sent(base, options.batch, options.clients, options.seconds))
        single = asyncio.run(sent(base, 1, options.clients, options.seconds))
    lost = round((many + single) * options.seconds) - (counted(store) - before)
    others = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(others)})
    by_itself = {n: bare(work, store, n, options.seconds / 2) for n in (options.batch, 1)}
    os.sched_setaffinity(0, others)
    share = many / by_itself[options.batch]
    print(f"{store.partition(':')[0]}, {options.clients} clients")
    alone = by_itself[options.batch]
    print(f"batches of {options.batch}: {many:,.0f} events a second; bare {alone:,.0f}, {share:.2f} of it")
    print(f"single events: {single:,.0f} a second; bare {by_itself[1]:,.0f}")
    print(f"{lost} acknowledged events are not in the log; load average {os.getloadavg()[0]:.2f}")
    held = not lost and share >= SHARE
    if not held:
        print(f"MISSED: {SHARE:g} of the bare database")
    return int(not held)


def counted(store: str) -> int:
    stores = open_stores(store)
    events = sum(n for _, n in stores.events.user_counts(1_000_000))
    stores.close()
    return events


if __name__ == "__main__":
    sys.exit(main())
