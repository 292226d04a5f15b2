"""New versions, one after another, under a server that is asked for lists all the time.

    python benchmarks/publishing.py [--versions 1000] [--seconds 200] [--items 1000] [--clients 8] [--work DIR]

A version puts one tenth of the items first, another tenth than the version before it. `zhiyin serve` answers while
--versions are published within --seconds, and --clients ask for one list after the other: each must be answered, and
hold nothing but what the version that it names puts first.

It ends with status 1 where a request failed, a list was mixed, or the last version does not answer in the end.
"""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx
import numpy as np
from lists import LENGTH, list_of, made, on_a_core_of_its_own

from zhiyin.app.clock import now_ms
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.publishing import publish_fitted
from zhiyin.app.registry import make_model
from zhiyin.core.dataset import Dataset
from zhiyin.dataset.settings import PreparationSettings

PARTS = 10
SETTLED_SECONDS = 10.0


@dataclass
class Publisher:
    """part: which tenth each version puts first, by its id."""

    data: Dataset
    artifact: Path
    part: dict[str, int] = field(default_factory=dict)

    def publish(self) -> str:
        """The id of the version that is current from now on."""
        turn = len(self.part) % PARTS
        model = make_model("popularity")
        model.load_parameters({"popularity": (np.arange(len(self.data.items)) % PARTS == turn).astype(np.float64)})
        about = {"settings": PreparationSettings(encoders=()).model_dump(mode="json"), "split": {}, "metrics": {}}
        models = {"main": model, "fallback": model}
        manifest = publish_fitted(self.artifact, self.data, models, {}, {**about, "extra": {}})
        self.part[manifest.manifest_id] = turn
        return manifest.manifest_id


@dataclass
class Found:
    """lists: by version. mixed: lists that are not of the version they name. failed: by status, 0 for no answer."""

    lists: Counter[str] = field(default_factory=Counter)
    mixed: int = 0
    failed: Counter[int] = field(default_factory=Counter)


async def asked_for(base: str, publisher: Publisher, users: list[str], clients: int, until: asyncio.Event) -> Found:
    found, turns = Found(), itertools.cycle(users)
    rows = {name: row for row, name in enumerate(publisher.data.items.ids)}
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            while not until.is_set():
                try:
                    async with session.get(list_of(next(turns))) as response:
                        told = await response.json()
                        status = response.status
                except aiohttp.ClientError:
                    found.failed[0] += 1
                    continue
                if status != httpx.codes.OK:
                    found.failed[status] += 1
                    continue
                version = told["manifest_id"]
                parts = {rows[line["item"]["item_id"]] % PARTS for line in told["items"]}
                found.lists[version] += 1
                found.mixed += len(told["items"]) != LENGTH or parts != {publisher.part.get(version)}

        await asyncio.gather(*(client() for _ in range(clients)))
    return found


async def published(publisher: Publisher, versions: int, seconds: float, until: asyncio.Event) -> float:
    """The seconds until the last version answers, as far as it was waited for."""
    began = time.perf_counter()
    for turn in range(versions):
        await asyncio.to_thread(publisher.publish)
        await asyncio.sleep(max(0.0, began + (turn + 1) * seconds / versions - time.perf_counter()))
    spent = time.perf_counter() - began
    await asyncio.sleep(SETTLED_SECONDS)
    until.set()
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measured(options, options.work or Path(folder))


def measured(options: argparse.Namespace, work: Path) -> int:
    store = made(work, users=300, items=options.items, history=10)
    publisher = Publisher(prepare_dataset(store, PreparationSettings(encoders=())), work / f"versions-{now_ms()}")
    publisher.publish()

    async def course(base: str) -> tuple[Found, float]:
        until = asyncio.Event()
        asking = asked_for(base, publisher, [f"u{user}" for user in range(300)], options.clients, until)
        found, spent = await asyncio.gather(asking, published(publisher, options.versions, options.seconds, until))
        return found, spent

    with on_a_core_of_its_own(store, publisher.artifact, work) as (client, _):
        found, spent = asyncio.run(course(str(client.base_url)))
        last = client.get(list_of("u0")).json()["manifest_id"]
    answers, lists = last == max(publisher.part), sum(found.lists.values())
    print(f"{options.versions:,} versions in {spent:.0f} s; {lists:,} lists by {len(found.lists)} of them")
    print(f"failed {dict(found.failed)}, mixed {found.mixed}; the last version answers: {answers}")
    print(f"load average {os.getloadavg()[0]:.2f}")
    held = not found.failed and not found.mixed and answers
    if not held:
        print("MISSED")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
