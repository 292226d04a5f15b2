"""A server that is asked for three times what it can answer, in the made-up shop of lists.py.

    python benchmarks/overload.py [--model linear] [--minutes N] [--times 3] [--seconds 60] [--work DIR]

What the server can is what it answers to sixteen clients in turn. Then lists are asked for at random moments, --times
as many a second for --seconds, whatever waits; then in turn again, ten seconds after the end at the latest. --work
keeps store and system: what is there is not made again, as lists.py makes it.

It ends with status 1 where fewer than 90 % of the lists that it can make a second came, a refusal is anything else than
503 with Retry-After, the 95th percentile of refusals is above 100 ms, memory grew by more than a tenth, or it does not
make 90 % of what it did afterwards.
"""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from lists import in_turn, list_of, made, on_a_core_of_its_own, trained
from memory import resident
from moments import at_moments
from wire import Wire

GOODPUT, REFUSAL_MS, GROWTH = 0.9, 100.0, 1.1
TOLD_LATER = 503
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """status: 0 where the connection broke. later: whether it says when to come again."""

    status: int
    later: bool
    ms: float


async def crowded(base: str, users: list[str], rate: float, seconds: float) -> list[Answer]:
    wire = Wire(base)

    async def client(place: int, _: float) -> Answer:
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                told = await wire.get(list_of(users[place % len(users)]))
            status, later = told.status, b"\r\nretry-after:" in told.head
        except (OSError, EOFError):
            status, later = 0, False
        return Answer(status, later, 1000 * (time.perf_counter() - asked))

    answers = await at_moments(rate, seconds, 3, client)
    wire.close()
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--times", type=float, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        store = made(work)
        return measured(options, work, store, trained(work, store, options.model, options.minutes))


def measured(options: argparse.Namespace, work: Path, store: str, artifact: Path) -> int:
    users = [f"u{user}" for user in np.random.default_rng(2).permutation(3_000)]
    asked = itertools.cycle(users)
    with on_a_core_of_its_own(store, artifact, work) as (client, process):
        base = str(client.base_url)
        peak = asyncio.run(in_turn(base, lambda: list_of(next(asked)), 10))
        before = resident(process)["VmRSS"]
        answers = asyncio.run(crowded(base, users, options.times * peak, options.seconds))
        after = resident(process)["VmRSS"]
        again = asyncio.run(in_turn(base, lambda: list_of(next(asked)), 10))
    good = sorted(each.ms for each in answers if each.status == httpx.codes.OK)
    refused = sorted(each.ms for each in answers if each.status == TOLD_LATER and each.later)
    share = len(good) / options.seconds / peak
    late = refused[int(0.95 * len(refused))] if refused else 0.0
    print(f"{peak:.0f} lists a second in turn; asked for {options.times:g} times as many for {options.seconds:g} s")
    print(f"answers: {dict(Counter(each.status for each in answers))}")
    print(f"goodput {share:.2f} of that, 95th percentile of lists {good[int(0.95 * len(good))]:.0f} ms")
    print(f"{len(refused):,} refused, 95th percentile {late:.1f} ms")
    print(f"memory {before / 1024:.0f} MiB before, {after / 1024:.0f} after; {again:.0f} lists a second afterwards")
    print(f"load average {os.getloadavg()[0]:.2f}")
    told = len(good) + len(refused) == len(answers)
    held = told and share >= GOODPUT and late <= REFUSAL_MS and after <= GROWTH * before and again >= GOODPUT * peak
    if not held:
        print("MISSED")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
