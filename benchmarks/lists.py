"""Lists over HTTP beside an empty endpoint of the same server, in a made-up shop.

    python benchmarks/lists.py [--model linear] [--minutes N] [--users 3000] [--items 10000] [--history 50]
        [--seconds 10] [--rounds 3] [--work DIR]

The shop is that of costs.py: items in groups of fifty, popular by Zipf's law, each user with a history of --history
events. `zhiyin train --model` publishes the model (without --model the best of all, within --minutes), `zhiyin serve`
answers on one core, clients ask on the others: 16 at a time for the ten best items of one user after the other, in
rounds, for the empty endpoint `/api/health/live`, for lists, for lists without reasons. Then lists are asked for at
half of what the server can, at random moments. Before that 500 lists are compared with what the model says offline.
--work keeps store and system: what is there is not made again.

It ends with status 1 where a list differs, or throughput or the 99th percentile at half load miss their bounds: half of
the empty endpoint's and 10 ms for one model, a fifth and 40 ms for blend and ranker.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import polars as pl
from costs import START, walks
from memory import resident
from moments import at_moments
from serving import served
from wire import Wire

from zhiyin.app.clock import now_ms
from zhiyin.app.contenders import MIXTURES
from zhiyin.app.loading import load_system
from zhiyin.core.histories import DAY
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.retrieval.topn import top_n
from zhiyin.storage.opening import open_stores

LENGTH, CLIENTS, COMPARED = 10, 16, 500
BOUNDS = {"single": (1 / 2, 10.0), "mixture": (1 / 5, 40.0)}
STARTING_SECONDS, TIMEOUT_SECONDS = 120, 30
EMPTY = "/api/health/live"


def list_of(user: str) -> str:
    return f"/api/v1/recommend/{user}?n={LENGTH}"


def plain_list_of(user: str) -> str:
    return f"{list_of(user)}&explain=false"


def made(
    work: Path,
    users: int = 3_000,
    items: int = 10_000,
    history: int = 50,
    *,
    store: str | None = None,
    categories: Callable[[int], str] | None = None,
) -> str:
    """The URL of a store with all that happened in the shop; None makes one in `work`. categories: of items by row."""
    work.mkdir(parents=True, exist_ok=True)
    store = store or f"sqlite:///{work / 'shop.db'}"
    if not (work / "events.parquet").exists():
        indptr = np.arange(users + 1) * history
        rows = walks(indptr, items, np.random.default_rng(0))
        owner, place = np.repeat(np.arange(users), history), np.tile(np.arange(history), users)
        columns = {
            "user_id": [f"u{user}" for user in owner],
            "item_id": [f"i{row}" for row in rows],
            "event": "click",
            "timestamp": START + DAY * place + owner,
        }
        pl.DataFrame(columns).write_parquet(work / "events.parquet")
        shop = {"item_id": [f"i{row}" for row in range(items)]}
        if categories is not None:
            shop["categories"] = [categories(row) for row in range(items)]
        pl.DataFrame(shop).write_parquet(work / "items.parquet")
        zhiyin("ingest", work / "events.parquet", "--catalogue", work / "items.parquet", "--store", store)
    return store


def trained(work: Path, store: str, model: str | None, minutes: float) -> Path:
    """The folder of a system over the shop. model: None for the best of all."""
    artifact = work / (model or "best")
    if not artifact.exists():
        chosen = () if model is None else ("--model", model)
        zhiyin("train", "--store", store, "--out", artifact, "--minutes", minutes, *chosen)
    return artifact


def zhiyin(*words: object) -> None:
    program = Path(sys.executable).with_name("zhiyin")
    subprocess.run([str(program), *map(str, words)], check=True, stdout=sys.stderr)


def offline(store: str, artifact: Path, users: list[str], now: int) -> Iterator[list[str]]:
    """The list of each user by the model alone."""
    system, stores = load_system(artifact), open_stores(store)
    for user in users:
        log = stores.events.history(user, 20_000)
        scores = system.model.score([system.query(log, now)])[0]
        unseen = np.ones(len(scores), np.bool_)
        rows = system.items.rows(log.item_id)
        unseen[rows[rows != UNKNOWN]] = False
        yield list(system.items.ids[top_n(scores[None], LENGTH, unseen).rows[0]])
    stores.close()


def differing(client: httpx.Client, store: str, artifact: Path, users: list[str]) -> int:
    """Lists that are asked for many at a time, and so made together."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda user: client.get(list_of(user)).json()["items"], users))
    told = [[line["item"]["item_id"] for line in items] for items in answers]
    return sum(ours != theirs for ours, theirs in zip(offline(store, artifact, users, now_ms()), told, strict=True))


async def in_turn(base: str, address: Callable[[], str], seconds: float) -> float:
    """Requests a second of `CLIENTS` that each ask again when they are answered."""
    answered, end, wire = 0, time.perf_counter() + seconds, Wire(base)

    async def client() -> None:
        nonlocal answered
        while time.perf_counter() < end:
            await got(wire, address())
            answered += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    wire.close()
    return answered / seconds


async def at_random(base: str, address: Callable[[], str], rate: float, seconds: float) -> list[float]:
    """Milliseconds, sorted, of answers to requests that come at random moments, `rate` a second, whatever waits."""
    wire = Wire(base)

    async def client(_: int, moment: float) -> float:
        await got(wire, address())
        return 1000 * (time.perf_counter() - moment)

    waits = sorted(await at_moments(rate, seconds, 1, client))
    wire.close()
    return waits


async def got(wire: Wire, address: str) -> None:
    told = await wire.get(address)
    if told.status != httpx.codes.OK:
        raise SystemExit(f"{address}: {told.status} {told.body!r}")


@contextmanager
def on_a_core_of_its_own(
    store: str, artifact: Path, work: Path, *, workers: int = 1
) -> Iterator[tuple[httpx.Client, int]]:
    """As `served`, on the first core, while this process has the others."""
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    os.sched_setaffinity(0, {first})
    log = work / "server.log"
    try:
        limits = {"starting": STARTING_SECONDS, "timeout": TIMEOUT_SECONDS}
        with served(store, artifact, "--workers", workers, log=log, **limits) as serving:
            os.sched_setaffinity(0, others or {first})
            yield serving
    finally:
        os.sched_setaffinity(0, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--users", type=int, default=3_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--history", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measured(options, options.work or Path(folder))


def measured(options: argparse.Namespace, work: Path) -> int:
    store = made(work, options.users, options.items, options.history)
    artifact = trained(work, store, options.model, options.minutes)
    system = load_system(artifact)
    users = [f"u{user}" for user in np.random.default_rng(2).permutation(options.users)]
    with on_a_core_of_its_own(store, artifact, work) as (client, process):
        base = str(client.base_url)
        differ = differing(client, store, artifact, users[:COMPARED])
        name = system.model.name
        test = system.manifest.metrics["test"]["ndcg@10"]
        quality = f"NDCG@10 {test['mean']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
        print(f"{name}, {quality}; {options.items:,} items, histories of {options.history}")
        print(f"{differ} of {min(COMPARED, len(users))} lists differ from those by the model alone")
        asked = itertools.cycle(users)
        kinds: dict[str, Callable[[], str]] = {
            "empty endpoint": lambda: EMPTY,
            "lists": lambda: list_of(next(asked)),
            "lists without reasons": lambda: plain_list_of(next(asked)),
        }
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, address in kinds.items():
                found[kind].append(asyncio.run(in_turn(base, address, options.seconds)))
        rates = {kind: statistics.median(each) for kind, each in found.items()}
        for kind, rate in rates.items():
            share, rounds = rate / rates["empty endpoint"], ", ".join(f"{each:.0f}" for each in found[kind])
            print(f"{kind:22} {rate:7.0f} a second, {share:.2f} of the empty endpoint's (rounds: {rounds})")
        waits = asyncio.run(at_random(base, kinds["lists"], rates["lists"] / 2, options.seconds * options.rounds))
        middle, late = waits[len(waits) // 2], waits[int(0.99 * len(waits))]
        print(f"lists at half: median {middle:.1f} ms, 99th percentile {late:.1f} ms, longest {waits[-1]:.1f} ms")
        print(f"the server holds {resident(process)['VmRSS'] / 1024:.0f} MiB; load average {os.getloadavg()[0]:.2f}")
    share, latest = BOUNDS["mixture" if name in MIXTURES else "single"]
    held = not differ and rates["lists"] >= share * rates["empty endpoint"] and late <= latest
    if not held:
        print(f"MISSED: no list may differ, {share:g} of the empty endpoint's throughput, {latest:g} ms")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
