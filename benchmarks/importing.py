"""Import: what is refused, how much memory it takes, and how fast it is beside the sqlite3 shell.

    python benchmarks/importing.py [refusals] [memory] [speed] [--rows N] [--work DIR]

refusals: N rows, one of a hundred broken in one of twelve ways; the counts by reason must equal the generator's own.
memory: N and 4 N such rows; the larger peak is at most 1.1 times the smaller, and at most 600 MB.
speed: N / 2 good rows with event ids; at least half the speed of the shell's `.import` of the same rows into a table of
the same schema and indexes, journal and cache, its file having every column in place.

The figures of the README are those of the default N. Files are written to DIR, else to a temporary folder; memory at
the default N takes 3 GB. Exits with 1 where a bound is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from zhiyin.storage.opening import open_stores

USERS = 200_000
ITEMS = 50_000
START = 1_600_000_000
CHUNK = 100_000
SPACING = 100
"""One row of so many is broken."""

MEMORY_GROWTH = 1.1
MEMORY_BYTES = 600_000_000
SPEED_SHARE = 0.5
PAIRS = 3
CACHE_KIB = 196_608
"""The page cache that an import has; the shell's own of 2 MB makes it slower."""

HEADER = b"user_id,item_id,event,value,timestamp,event_id\n"

Row = list[bytes]


def _with(place: int, cell: bytes) -> Callable[[Row], Row]:
    return lambda row: [*row[:place], cell, *row[place + 1 :]]


BREAKAGES: dict[str, Callable[[Row], Row]] = {
    "missing-user": _with(0, b""),
    "missing-item": _with(1, b" "),
    "field-too-large": _with(1, b"x" * 2000),
    "control-character": _with(0, b"u\x1b[31m"),
    "bad-encoding": _with(1, b"\xff\xfe"),
    "bad-quote": lambda row: [row[0], b'"' + row[1], *row[2:]],
    "too-few-fields": lambda row: row[:4],
    "too-many-fields": lambda row: [*row, b"more"],
    "bad-value": _with(3, b"many"),
    "not-finite": _with(3, b"-inf"),
    "bad-timestamp": _with(4, b"yesterday"),
    "time-out-of-range": _with(4, b"9999-12-31"),
}
"""Reason of refusal -> what is done to a good row."""


def rows(count: int) -> Iterator[list[Row]]:
    """Good rows of the six columns, the same ones whenever asked; some ids are Chinese."""
    generator = np.random.default_rng(0)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        users = (USERS * generator.random(size) ** 2).astype(int).tolist()
        items = (ITEMS * generator.random(size) ** 2).astype(int).tolist()
        kinds = generator.integers(0, 3, size).tolist()
        halves = generator.integers(1, 11, size).tolist()
        identifiers = generator.bytes(16 * size).hex().encode()
        yield [
            [
                b"u%d" % users[i],
                "片".encode() + b"%d" % items[i] if items[i] % 8 == 0 else b"i%d" % items[i],
                (b"view", b"rating", b"purchase")[kinds[i]],
                b"%.1f" % (halves[i] / 2),
                b"%d" % (START + start + i),
                identifiers[32 * i : 32 * i + 32],
            ]
            for i in range(size)
        ]


def write_broken(path: Path, count: int) -> dict[str, int]:
    """A file of `count` rows, some broken; how many were, by reason."""
    ways = list(BREAKAGES.items())
    truth: Counter[str] = Counter()
    generator = np.random.default_rng(1)
    with path.open("wb") as file:
        file.write(HEADER)
        for chunk in rows(count):
            for start in range(0, len(chunk) - SPACING + 1, SPACING):
                place = start + int(generator.integers(SPACING))
                reason, breakage = ways[truth.total() % len(ways)]
                chunk[place] = breakage(chunk[place])
                truth[reason] += 1
            file.write(b"".join(b",".join(row) + b"\n" for row in chunk))
    return dict(truth)


def write_good(path: Path, count: int) -> None:
    with path.open("wb") as file:
        file.write(HEADER)
        for chunk in rows(count):
            file.write(b"".join(b",".join(row) + b"\n" for row in chunk))


def write_for_shell(path: Path, count: int) -> None:
    """The same rows with every column of the table in its place, as `.import` wants them."""
    with path.open("wb") as file:
        sequence = 0
        for chunk in rows(count):
            for user, item, event, value, seconds, identifier in chunk:
                sequence += 1
                row = (b"%d" % sequence, b"default", identifier, user, item, event, value, seconds + b"000")
                file.write(b",".join(row) + b",,,\n")


def ingest(events: Path, store: Path) -> tuple[Any, int, float]:
    """`zhiyin ingest` in its own process: its report, peak memory in bytes, seconds."""
    command = [sys.executable, "-c", "from zhiyin.cli import main; main()", "ingest", str(events)]
    started = time.perf_counter()
    with subprocess.Popen([*command, "--store", f"sqlite:///{store}", "--json"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"importing {events} failed with status {process.returncode}")
    return json.loads(output)["files"][0], usage.ru_maxrss * 1024, seconds


def refusals(work: Path, count: int) -> bool:
    truth = write_broken(work / "broken.csv", count)
    (work / "truth.json").write_text(json.dumps(truth, indent=1))
    report, peak, seconds = ingest(work / "broken.csv", work / "broken.db")
    for reason in sorted({*truth, *report["refused"]}):
        print(f"{reason:20} {truth.get(reason, 0):8,} broken {report['refused'].get(reason, 0):8,} refused")
    good = count - sum(truth.values())
    print(f"{count:,} rows: {good:,} good, {report['added']:,} added; {seconds:.1f} s, peak {peak / 1e6:.0f} MB")
    return bool(report["refused"] == truth and report["read"] == count and report["added"] == good)


def memory(work: Path, count: int) -> bool:
    peaks = []
    for number in (count, 4 * count):
        write_broken(work / "rows.csv", number)
        _, peak, seconds = ingest(work / "rows.csv", work / "rows.db")
        print(f"{number:,} rows: peak {peak / 1e6:.0f} MB, {seconds:.1f} s")
        peaks.append(peak)
        remove_store(work / "rows.db")
    (work / "rows.csv").unlink()
    growth = peaks[1] / peaks[0]
    print(f"growth {growth:.3f} (at most {MEMORY_GROWTH}), peak at most {MEMORY_BYTES / 1e6:.0f} MB")
    return growth <= MEMORY_GROWTH and peaks[1] <= MEMORY_BYTES


def speed(work: Path, count: int) -> bool:
    count //= 2
    write_good(work / "good.csv", count)
    write_for_shell(work / "shell.csv", count)
    shell, ours = [], []
    for _ in range(PAIRS):
        shell.append(shell_import(work / "shell.csv", work / "shell.db"))
        report, _, seconds = ingest(work / "good.csv", work / "good.db")
        ours.append(seconds)
        assert report["added"] == count
        print(f"{count:,} rows: sqlite3 {shell[-1]:.1f} s, zhiyin {seconds:.1f} s; load {os.getloadavg()[0]:.1f}")
        remove_store(work / "shell.db")
        remove_store(work / "good.db")
    share = median(shell) / median(ours)
    print(f"zhiyin has {share:.2f} of the speed of the shell (at least {SPEED_SHARE}), by medians")
    return share >= SPEED_SHARE


def shell_import(rows_file: Path, store: Path) -> float:
    """Seconds that the sqlite3 shell takes to import into a new store."""
    open_stores(f"sqlite:///{store}").close()
    commands = [f"PRAGMA cache_size=-{CACHE_KIB}", ".mode csv", f".import '{rows_file}' events"]
    started = time.perf_counter()
    subprocess.run(["sqlite3", str(store), *commands], check=True)
    return time.perf_counter() - started


def remove_store(store: Path) -> None:
    for file in store.parent.glob(f"{store.name}*"):
        file.unlink()


STEPS = {"refusals": refusals, "memory": memory, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help="refusals, memory, speed; all, if left out")
    parser.add_argument("--rows", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--work", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    if unknown := set(arguments.steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(unknown)}")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for step in arguments.steps or STEPS:
            print(f"{step} (load average {os.getloadavg()[0]:.1f})")
            if not STEPS[step](arguments.work or Path(folder), arguments.rows):
                missed.append(step)
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
