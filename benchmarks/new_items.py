"""How soon a new item is in the lists that deserve it.

    python benchmarks/new_items.py [--models content,attentive] [--items N] [--new N] [--encoder NAME] [--work DIR]

A catalogue of made-up texts in English and Chinese falls into niches of 20 items, each with words of its own; every
user likes 12 items of one niche. A system is trained on it and served by `zhiyin serve` in a process of its own. Then
one item after another is added over HTTP, each in the words of one user's niche, and that user's list of 10 is asked
for until it holds the item. Timed from sending the item to the answer that holds it.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
from memory import resident
from serving import served

import zhiyin
from zhiyin.app.loading import CATALOG, VECTORS, catalog_to_json
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.artifacts.folder import publish
from zhiyin.core.catalog import Catalog
from zhiyin.core.events import Events
from zhiyin.core.models import Model, Run
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.storage.opening import open_stores
from zhiyin.training.loop import PlainTrainer
from zhiyin.training.statistics import PlainStatistics

NICHE, LIKED = 20, 12
USERS = 4_000
OWN_WORDS, COMMON_WORDS = 8, 2_000
LENGTH = 10
NOW = 1_760_000_000_000

BOUND_SECONDS = 1.0
GIVE_UP_SECONDS = 30.0
STARTING_SECONDS, TIMEOUT_SECONDS = 300.0, 60.0

SETTINGS = {
    "content": {},
    "attentive": {"epochs": 1, "batch_users": 512},
}

Item = dict[str, str]


class Texts:
    """Items of niches by words that are made up: odd niches speak Chinese, even ones English."""

    def __init__(self, niches: int) -> None:
        self._random = np.random.default_rng(0)
        self._own = [self._words(OWN_WORDS, chinese=bool(niche % 2)) for niche in range(niches)]
        self._common = [self._words(COMMON_WORDS, chinese=chinese) for chinese in (False, True)]

    def item(self, item_id: str, niche: int) -> Item:
        own = self._random.permutation(self._own[niche]).tolist()
        common = self._random.choice(self._common[niche % 2], 4).tolist()
        space = "" if niche % 2 else " "
        return {"item_id": item_id, "title": space.join(own[:3]), "description": space.join(own[3:7] + common)}

    def _words(self, n: int, *, chinese: bool) -> list[str]:
        letters = [chr(0x4E00 + place) for place in range(3_000)] if chinese else list("abcdefghijklmnoprstuvwy")
        length = 2 if chinese else 7
        return ["".join(word) for word in self._random.choice(letters, (n, length))]


def fill(store: str, texts: Texts, niches: int) -> None:
    """The catalogue, and users who liked most of the items of one niche each."""
    items = [texts.item(f"item-{row}", row // NICHE) for row in range(niches * NICHE)]
    generator = np.random.default_rng(1)
    liked = [NICHE * niche + generator.permutation(NICHE)[:LIKED] for niche in niches_of(niches)]
    times = np.sort(NOW - generator.integers(0, 10**10, (len(liked), LIKED)), axis=1)
    stores = open_stores(store)
    try:
        stores.catalog.upsert(
            Catalog.build(
                item_id=[item["item_id"] for item in items],
                title=[item["title"] for item in items],
                description=[item["description"] for item in items],
            )
        )
        stores.events.append(
            Events.build(
                user_id=[f"user-{user}" for user in range(len(liked)) for _ in range(LIKED)],
                item_id=[f"item-{row}" for rows in liked for row in rows],
                event="like",
                timestamp=times.ravel().tolist(),
            )
        )
    finally:
        stores.close()


def niches_of(niches: int) -> range:
    """The niche of each user."""
    return range(min(USERS, niches))


def train(store: str, out: Path, name: str, encoder: str) -> None:
    """Fitted and published without a comparison: what is measured comes after."""
    preparation = PreparationSettings(encoders=(encoder,))
    data = prepare_dataset(store, preparation, out / VECTORS)
    run = Run(PlainTrainer(), PlainStatistics())
    models: dict[str, Model] = {
        "main": make_model(name, {"encoders": (encoder,), **SETTINGS[name]}),
        "fallback": make_model("popularity"),
    }
    for model in models.values():
        model.fit(data, run)
    components = {
        part: {"model": model.name, "config": model.config.model_dump(mode="json")} for part, model in models.items()
    }
    description = {
        "code_version": zhiyin.__version__,
        "settings": preparation.model_dump(mode="json"),
        "data": {"rating_scale": data.rating_scale, "removals": [asdict(removal) for removal in data.removals]},
        "split": {},
        "metrics": {},
    }
    parameters = {part: model.parameters() for part, model in models.items()}
    publish(out, components, parameters, {CATALOG: catalog_to_json(data.catalog)}, description)


def seconds_to_appear(client: httpx.Client, item: Item, user: str) -> float:
    """Infinite where the user's list does not come to hold it."""
    started = time.perf_counter()
    client.post("/api/v1/items", json=item).raise_for_status()
    while time.perf_counter() - started < GIVE_UP_SECONDS:
        answer = client.get(f"/api/v1/recommend/{user}", params={"n": LENGTH}).raise_for_status().json()
        if item["item_id"] in [line["item"]["item_id"] for line in answer["items"]]:
            return time.perf_counter() - started
    return float("inf")


def measured(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def memory_of(process: int) -> dict[str, float]:
    """Resident memory now and at most, in GB."""
    return {name: kilobytes / 1e6 for name, kilobytes in resident(process).items()}


def show(name: str, seconds: Sequence[float], encoded: float, memory: dict[str, float]) -> bool:
    appeared = np.isfinite(seconds)
    median, late, latest = (float(np.percentile(seconds, q, method="higher")) for q in (50, 95, 99))
    print(f"{name}: {appeared.sum()} of {len(seconds)} new items appeared")
    print(f"  from POST to the list that holds it: median {median:.3f} s, p95 {late:.3f} s, p99 {latest:.3f} s")
    print(f"  contents given to the encoder: {encoded:.0f}; the server's memory: ", end="")
    print(f"{memory.get('VmRSS', float('nan')):.2f} GB, at most {memory.get('VmHWM', float('nan')):.2f} GB")
    return bool(appeared.all()) and latest < BOUND_SECONDS and encoded == len(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="content,attentive")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--new", type=int, default=200)
    parser.add_argument("--encoder", default="hashed-ngrams")
    parser.add_argument("--work", type=Path, help="an empty folder for what is made")
    arguments = parser.parse_args()
    niches = arguments.items // NICHE
    held = []
    with tempfile.TemporaryDirectory() as folder:
        work: Path = arguments.work or Path(folder)
        for name in arguments.models.split(","):
            (work / name).mkdir(parents=True)
            store, texts = f"sqlite:///{work / name / 'shop.db'}", Texts(niches)
            fill(store, texts, niches)
            started = time.perf_counter()
            train(store, work / name / "system", name, arguments.encoder)
            seconds = time.perf_counter() - started
            print(f"{name}: {arguments.items} items of {arguments.encoder}, trained in {seconds:.0f} s", flush=True)
            users = np.random.default_rng(2).permutation(len(niches_of(niches)))[: arguments.new]
            with served(store, work / name / "system", starting=STARTING_SECONDS, timeout=TIMEOUT_SECONDS) as (
                client,
                process,
            ):
                waits = [
                    seconds_to_appear(client, texts.item(f"new-{user}", int(user)), f"user-{user}") for user in users
                ]
                encoded = measured(client, "zhiyin_new_contents_encoded")
                held.append(show(name, waits, encoded, memory_of(process)))
    print(f"load average {os.getloadavg()[0]:.2f}")
    raise SystemExit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
