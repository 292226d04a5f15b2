"""Seconds and memory of an epoch: the transformer, the bare matrix products in it, and RecTools' SASRec beside them.

    python3 -m venv OTHER && OTHER/bin/pip install torch==2.13.0 'rectools[torch]==0.19.0'
    python benchmarks/training.py --data DIR [--rectools OTHER/bin/python] [--epochs N] [--threads N]

DIR holds amazon2014-beauty. Everybody's events but the last two are learned from: 64 numbers an item, two blocks of two
heads, the latest 50 events, batches of 256 users, cross-entropy over all items, dropout .3. The matrix products are
those of the scores and of the blocks' linear layers, forwards and backwards (torch.mm, as many positions as the epoch
asks about). Each runs in a process of its own with --threads; medians over the epochs, of RecTools one; memory is the
most that a process held.

It ends with status 1 where an epoch takes more than 3 times the products, or RecTools less than 12 times the epoch or
less than twice its memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import torch
from preparing import prepared

from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection
from zhiyin.core.models import Silent

SIZE: Mapping[str, Any] = {"dim": 64, "layers": 2, "heads": 2, "length": 50, "batch_users": 256, "dropout": 0.3}
PRODUCTS, RECTOOLS, MEMORY = 3.0, 12.0, 2.0


class Clock(Silent):
    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self.ends.append(time.perf_counter())


def histories(data: Path) -> pl.DataFrame:
    """Everybody's events but the last two, in order; the time of an event is its place."""
    events = pl.read_parquet(data / "amazon2014-beauty" / "interactions.parquet").sort("user_id", "position")
    place, count = pl.int_range(pl.len()).over("user_id"), pl.len().over("user_id")
    ordered = events.select("user_id", item_id="asin", timestamp=1_000_000_000 + 60 * place, left=count - place)
    return ordered.filter(pl.col("left") > 2).drop("left")


def transformer(events: Path, epochs: int) -> Sequence[float]:
    settings = {**SIZE, "questions": SIZE["length"], "negatives": 0, "epochs": epochs}
    clock = Clock()
    make_model("transformer", settings).fit(prepared(events), Selection(0, progress=clock).run())
    return [after - before for before, after in pairwise(clock.ends)]


def products(events: Path, epochs: int) -> Sequence[float]:
    table = pl.read_csv(events)
    lengths = table.group_by("user_id").len()["len"].clip(upper_bound=SIZE["length"]).shuffle(seed=0)
    users = SIZE["batch_users"]
    positions = [int(lengths[start : start + users].sum()) for start in range(0, len(lengths), users)]
    dim = SIZE["dim"]
    block = [*4 * [(dim, dim)], (dim, 4 * dim), (4 * dim, dim)]
    weights = [torch.randn(shape) for shape in [(dim, table["item_id"].n_unique()), *SIZE["layers"] * block]]
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for count in positions:
            for weight in weights:
                inputs = torch.ones(count, weight.shape[0])
                outputs = torch.mm(inputs, weight)
                torch.mm(outputs, weight.T)
                torch.mm(inputs.T, outputs)
        seconds.append(time.perf_counter() - began)
    return seconds


PARTS = {"products": products, "transformer": transformer}


def measured(name: str, command: Sequence[str], threads: int) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    print(f"{name:12} {median(found['seconds']):7.1f} s an epoch, at most {found['mib']:6.0f} MiB", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rectools")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--part", choices=tuple(PARTS), help="measure one in this process; DIR is a file of events then"
    )
    options = parser.parse_args()
    if options.part:
        seconds = PARTS[options.part](options.data, options.epochs)
        mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "mib": mib}))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        events = Path(scratch) / "events.csv"
        histories(options.data).write_csv(events)
        found: dict[str, dict[str, Any]] = {}
        for part in PARTS:
            own = [sys.executable, __file__, "--data", str(events), "--part", part, "--epochs", str(options.epochs)]
            found[part] = measured(part, own, options.threads)
        if options.rectools:
            script = str(Path(__file__).with_name("training_rectools.py"))
            found["rectools"] = measured(
                "RecTools", [options.rectools, script, str(events), json.dumps(dict(SIZE))], options.threads
            )
    taken = {name: median(each["seconds"]) for name, each in found.items()}
    ratio = taken["transformer"] / taken["products"]
    ratios = [(f"epoch over products, at most {PRODUCTS:g}", ratio, ratio <= PRODUCTS)]
    if options.rectools:
        ratio = taken["rectools"] / taken["transformer"]
        ratios.append((f"RecTools over epoch, at least {RECTOOLS:g}", ratio, ratio >= RECTOOLS))
        ratio = found["rectools"]["mib"] / found["transformer"]["mib"]
        ratios.append((f"RecTools' memory over ours, at least {MEMORY:g}", ratio, ratio >= MEMORY))
    for name, ratio, held in ratios:
        print(f"{name}: {ratio:.2f}{'' if held else '  MISSED'}")
    print(f"load average {', '.join(f'{load:.2f}' for load in os.getloadavg())}")
    return int(not all(held for _, _, held in ratios))


if __name__ == "__main__":
    sys.exit(main())
