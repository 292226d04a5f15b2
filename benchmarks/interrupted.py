"""`kill -9` during a training at random moments, resumed each time.

    python benchmarks/interrupted.py --data DIR [--kills N] [--epochs N] [--seed N]

MovieLens 100K is fetched into DIR where it is missing. `zhiyin train --model transformer` runs once without
interruption, and once killed at random moments and started again with the same words. It ends with status 1 unless the
published parameters are equal to the last bit and, at each kill, no more than the epoch that was under way is computed
again.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.movielens import fetch_movielens
from zhiyin.artifacts.folder import current, read_parameters

LOOK_SECONDS = 0.05


def command(store: str, out: Path, config: Path) -> list[str]:
    program = Path(sys.executable).with_name("zhiyin")
    words = (program, "train", "--store", store, "--out", out, "--model", "transformer", "--config", config)
    return [str(word) for word in words]


class Watch:
    """Epochs that the trainings under a folder have finished. again: of these, how many were computed once more."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._epochs: dict[Path, int] = {}
        self.again = 0

    def look(self) -> int:
        for path in self._out.glob("checkpoints/**/history.jsonl"):
            before, now = self._epochs.get(path, 0), len(path.read_text("utf-8").splitlines())
            if now == 0:  # just being written
                continue
            self.again += before - now + 1 if now < before else 0
            self._epochs[path] = now
        return sum(self._epochs.values())


def watched(words: list[str], watch: Watch, after: int | None, delay: float = 0.0) -> bool:
    """Runs to the end, or kills `delay` seconds after `after` epochs in all are finished; True if it was killed."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as training:
        while training.poll() is None and (after is None or watch.look() < after):
            watch.look()
            time.sleep(LOOK_SECONDS)
        time.sleep(delay)
        running = training.poll() is None
        training.kill()
    watch.look()
    return running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311  moments, not secrets
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        store = f"sqlite:///{work / 'events.db'}"
        files = fetch_movielens(options.data, print)
        ingest(IngestRequest(events=[files.events], store=store, catalogue=str(files.catalogue)))
        config = work / "settings.toml"
        config.write_text(f"[preparation]\n[model]\nepochs = {options.epochs}\ndim = 32\nlayers = 1\n")
        whole, broken = work / "whole", work / "broken"
        began = time.perf_counter()
        subprocess.run(command(store, whole, config), check=True, stdout=subprocess.DEVNULL)
        total, seconds = Watch(whole).look(), time.perf_counter() - began
        print(f"without interruption: {total} epochs, {seconds:.0f} s")
        moments = sorted(chance.sample(range(1, total), options.kills))
        watch = Watch(broken)
        for moment in moments:
            delay = chance.random() * seconds / total
            if not watched(command(store, broken, config), watch, moment, delay):
                print("MISSED: the training ended before it could be killed")
                return 1
            print(f"killed {delay:.2f} s after epoch {moment} of {total}")
        watched(command(store, broken, config), watch, None)
        again = watch.again + watch.look() - total
        mine, theirs = (read_parameters(current(out))["main"] for out in (broken, whole))
    same = set(mine) == set(theirs) and all(np.array_equal(mine[key], theirs[key]) for key in mine)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"finished epochs computed again: {again}; parameters equal: {same}; load average {load}")
    if not same or again > 0:
        print("MISSED: a kill cost more than the epoch under way, or changed the result")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
