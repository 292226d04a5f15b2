"""How training time and memory grow with users and with items, on generated logs.

    python benchmarks/costs.py [--models linear,transformer] [--scales 1,4,16,64] [--users 2000] [--items 16000]

A log has ten events a user in the mean, at least two. Items form groups of fifty, popular by Zipf's law; an event
stays in the group of the one before seven times of ten. `users` grows the users over --items items, `items` the items
of as many users as the largest of those logs has. Each model is fitted as `zhiyin train` would fit it on everything,
networks for one epoch, in a process of its own: seconds of the fit, and how much more memory it held at most than
before. An exponent is the slope of a straight line through the logarithms.

It ends with status 1 where an exponent is above 1.1, or a process held more than 24 GiB.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from memory import resident

from zhiyin.app.registry import make_model, stoppable
from zhiyin.app.selection import Selection
from zhiyin.core.arrays import IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Features
from zhiyin.core.histories import DAY, Histories
from zhiyin.core.vocabulary import Vocabulary

EXPONENT, GIB = 1.1, 24.0
GROUP, STAYS, EVENTS, LEAST = 50, 0.7, 10, 2
START = 1_700_000_000_000


def generated(users: int, items: int, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    lengths = LEAST + generator.poisson(EVENTS - LEAST, users)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    ids = [f"i{row}" for row in range(items)]
    histories = Histories(
        indptr,
        walks(indptr, items, generator),
        np.ones(indptr[-1], np.float32),
        np.full(indptr[-1], np.nan, np.float32),
        START + DAY * (np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)),
    )
    return Dataset(
        users=Vocabulary(f"u{row}" for row in range(users)),
        items=Vocabulary(ids),
        histories=histories,
        catalog=Catalog.build(item_id=ids),
        user_features=Features((), np.zeros((users, 0), np.float32)),
        item_features=Features((), np.zeros((items, 0), np.float32)),
        content={},
        rating_scale=None,
        now=int(histories.timestamps.max()),
        fingerprint=hashlib.sha256(histories.items.tobytes()).hexdigest(),
    )


def walks(indptr: IntVector, items: int, generator: np.random.Generator) -> IntVector:
    """(events,) item rows, each user's from one group to another."""
    groups = items // GROUP
    events = int(indptr[-1])
    moves = generator.random(events) >= STAYS
    moves[indptr[:-1]] = True
    group = zipf(groups, int(moves.sum()), generator)[np.cumsum(moves) - 1]
    place = zipf(GROUP, events, generator)
    order = generator.permutation(groups * GROUP)
    return np.asarray(order[group * GROUP + place])


def zipf(n: int, size: int, generator: np.random.Generator) -> IntVector:
    shares = np.cumsum(1.0 / np.arange(1, n + 1))
    return np.asarray(np.searchsorted(shares, generator.random(size) * shares[-1]))


def fitted(name: str, users: int, items: int) -> dict[str, float]:
    data = generated(users, items)
    settings = {"epochs": 1} if stoppable(name) else {}
    model = make_model(name, settings)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, began = resident()["VmRSS"] / 1024, time.perf_counter()
    model.fit(data, Selection(0).run())
    seconds, most = time.perf_counter() - began, resident()["VmHWM"] / 1024
    return {"seconds": seconds, "mib": most - before, "held": most, "events": len(data.histories.items)}


def measured(name: str, users: int, items: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--models", name, "--users", str(users), "--items", str(items), "--alone"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    print(
        f"{name:12} {users:9,} users {items:9,} items {found['events']:11,.0f} events "
        f"{found['seconds']:8.1f} s {found['mib']:8.0f} MiB more, {found['held']:6.0f} in all",
        flush=True,
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="linear,transformer")
    parser.add_argument("--scales", default="1,4,16,64")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=16_000)
    parser.add_argument("--alone", action="store_true", help="measure the one size in this process")
    options = parser.parse_args()
    if options.items < GROUP or "," not in options.scales:
        parser.error(f"--items is at least {GROUP}, and --scales names two or more")
    if options.alone:
        print(json.dumps(fitted(options.models, options.users, options.items)))
        return 0
    scales = [int(scale) for scale in options.scales.split(",")]
    most, held = max(scales) * options.users, True
    for name in options.models.split(","):
        for what, sizes in (
            ("users", [(scale * options.users, options.items) for scale in scales]),
            ("items", [(most, scale * options.items) for scale in scales]),
        ):
            found = [measured(name, *size) for size in sizes]
            held &= _judged(f"{name}, {what}", scales, found)
    print(f"load average {', '.join(f'{load:.2f}' for load in os.getloadavg())}")
    return int(not held)


def _judged(name: str, scales: list[int], found: list[dict[str, Any]]) -> bool:
    slopes = {
        column: float(np.polyfit(np.log(scales), np.log([max(each[column], 1e-3) for each in found]), 1)[0])
        for column in ("seconds", "mib")
    }
    most = max(each["held"] for each in found) / 1024
    held = max(slopes.values()) <= EXPONENT and most <= GIB
    print(
        f"{name}: exponents {slopes['seconds']:.2f} of time, {slopes['mib']:.2f} of memory, at most {most:.1f} GiB"
        f"{'' if held else '  MISSED'}\n",
        flush=True,
    )
    return held


if __name__ == "__main__":
    sys.exit(main())
