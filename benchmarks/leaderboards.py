"""Leaderboards of all models with 95 % intervals, paired tests and controls, on MovieLens.

    python benchmarks/leaderboards.py --data DIR [--dataset ml-100k|ml-1m] [--models A,B] [--protocol time]
        [--seed N] [--out FILE.json] [--report DIR]

ml-1m: DIR/ml-1m holds interactions.parquet, items.parquet and users.parquet. ml-100k: u.data, items.tsv and
u.user are fetched into DIR where they are missing.

On ml-1m it ends with status 1 unless the model chosen by validation beats popularity (p < 0.01), `attentive` beats
popularity and itself fed with other users' histories (each p < 0.01), and at least 48 of 50 users get a list of their
own from `attentive`. Of these, what was not asked for with --models is not checked.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from zhiyin.app.evaluate import EvaluateRequest, evaluate
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.movielens import fetch_movielens
from zhiyin.cli.show import Bars, choice, console, leaderboard
from zhiyin.evaluation.intervals import PairedTest
from zhiyin.evaluation.leaderboard import Leaderboard

LIMIT = 0.01
LISTS = 48


def imported(data: Path, dataset: str, store: str, refused: Path) -> None:
    if dataset == "ml-1m":
        folder = data / "ml-1m"
        events, items, users = (folder / f"{name}.parquet" for name in ("interactions", "items", "users"))
    else:
        files = fetch_movielens(data, print)
        events, items, users = files.events, files.catalogue, files.users
    ingest(IngestRequest(events=[events], store=store, catalogue=str(items), users=str(users), refused=refused))


def misses(board: Leaderboard, *, everything: bool) -> list[str]:
    """What is asked of ml-1m and does not hold. everything: no model was asked for by name."""
    found = []
    if everything and all(row.model != "attentive" for row in board.rows):
        found.append("attentive was left out")
    if not ahead(board.main.test):
        found.append(f"the choice by validation, {board.main.model}, does not beat popularity at p < {LIMIT}")
    for row in board.rows:
        if row.model != "attentive":
            continue
        if not ahead(row.test):
            found.append(f"attentive does not beat popularity at p < {LIMIT}")
        if row.control is None or not ahead(row.control.test):
            found.append(f"attentive does not beat itself fed with other users' histories at p < {LIMIT}")
        if row.different is None or row.different.lists < LISTS:
            found.append(f"attentive gives {row.different} different lists, fewer than {LISTS}")
    return found


def ahead(test: PairedTest | None) -> bool:
    return test is not None and test.difference.mean > 0 and test.p < LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", choices=("ml-100k", "ml-1m"), default="ml-100k")
    parser.add_argument("--models", default="")
    parser.add_argument("--protocol", choices=("time", "leave-one-out"), default="time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--report", type=Path, help="folder that keeps report.html")
    options = parser.parse_args()
    screen = console()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as work, Bars(screen) as bars:
        store = f"sqlite:///{Path(work) / 'events.db'}"
        imported(options.data, options.dataset, store, Path(work) / "refused.csv")
        outcome = evaluate(
            EvaluateRequest(
                store=store,
                report=options.report or Path(work) / "report",
                protocol=options.protocol,
                models=[name for name in options.models.split(",") if name],
                seed=options.seed,
                progress=bars,
                announce=bars.begin,
            )
        )
    board = outcome.board
    leaderboard(board, screen)
    choice(board, screen)
    for note in outcome.notes:
        print(note)
    if options.out is not None:
        options.out.write_text(board.to_json(), "utf-8")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{options.dataset}, seed {options.seed}: {time.perf_counter() - began:.0f} s, load average {load}")
    missed = misses(board, everything=not options.models) if options.dataset == "ml-1m" else []
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
