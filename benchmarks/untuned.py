"""`zhiyin train` as it is, without a setting, beside each of the models that it tried.

    python benchmarks/untuned.py --data DIR [--table toys|beauty|ml-1m|ml-latest-small] [--minutes N] [--work DIR]

DIR holds the folder of the table. `zhiyin ingest` reads all events but everybody's last one, and the titles;
`zhiyin train` chooses, within its hour unless --minutes says otherwise, refits and publishes; the published system
ranks all items for everybody, those in the history left out, and the last event is to be found. Then every single model
on its leaderboard is fitted on the same events, at the settings that training chose for it, and ranks beside it: the
difference of NDCG@10 with its 95 % interval over users. --work keeps the store and the system: what is there is not
made again.

It ends with status 1 where a model is ahead of the published system by more than chance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from accuracy import FOLDERS, read
from preparing import SMALL, small_ratings

from zhiyin.app.contenders import MIXTURES
from zhiyin.app.loading import VECTORS, load_system
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection
from zhiyin.artifacts.folder import current
from zhiyin.core.arrays import FloatVector
from zhiyin.core.dataset import Dataset, Holdout, Query
from zhiyin.core.models import Model
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.evaluation.intervals import bootstrap_interval
from zhiyin.evaluation.ranking import evaluate_ranking

MAIN = "zhiyin train"
METRICS = ("recall@10", "ndcg@10")
COLUMNS = {"userId": "user_id", "movieId": "item_id", "asin": "item_id"}


def tables(data: Path, table: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events, user by user in order, and titles."""
    if table == SMALL:
        events = small_ratings(data).sort("user_id", "timestamp", maintain_order=True)
        titles = pl.read_csv(data / "ml-latest-small-2016" / "movies.csv.gz", columns=["movieId", "title"])
    else:
        events, titles = read(data, table, shuffled=False)
    events, titles = (each.rename(COLUMNS, strict=False).cast({"item_id": pl.String}) for each in (events, titles))
    return events, titles


def zhiyin(*words: str) -> None:
    print(f"zhiyin {' '.join(words)}", flush=True)
    began = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("zhiyin"), *words], check=True)
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes; load {os.getloadavg()[0]:.1f}", flush=True)


def trained(before: pl.DataFrame, titles: pl.DataFrame, work: Path, options: Sequence[str]) -> tuple[str, Path]:
    """The store, and the folder of the system, made where they are not there yet."""
    store, out = f"sqlite:///{work / 'events.db'}", work / "system"
    if not (work / "events.db").exists():
        before.write_parquet(work / "events.parquet")
        titles.write_parquet(work / "items.parquet")
        zhiyin("ingest", str(work / "events.parquet"), "--catalogue", str(work / "items.parquet"), "--store", store)
    if not list(out.glob("*/manifest.json")):
        zhiyin("train", "--store", store, "--out", str(out), *options)
    return store, out


def asked(data: Dataset, last: pl.DataFrame) -> Holdout:
    """What everybody of `data` takes last; of an item that training has not seen nobody is asked."""
    users, targets = (
        data.users.rows(last["user_id"].cast(pl.String).to_list()),
        data.items.rows(last["item_id"].to_list()),
    )
    known = (users != UNKNOWN) & (targets != UNKNOWN)
    print(f"{len(last):,} users; {(~known).sum():,} answers are of items that nobody had, and count as not found")
    histories = [data.histories.of(user) for user in users[known].tolist()]
    return Holdout(
        "the last event",
        users[known],
        tuple(Query(history, data.now) for history in histories),
        tuple(targets[known, None]),
        tuple(np.full(1, np.nan) for _ in histories),
        tuple(np.unique(history.items) for history in histories),
    )


def figures(model: Model, holdout: Holdout, n_items: int, missed: int) -> dict[str, FloatVector]:
    found = evaluate_ranking(model, holdout, n_items, ks=(10,)).metrics
    return {metric: np.concatenate([found[metric], np.zeros(missed)]) for metric in METRICS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=(*FOLDERS, SMALL), default="toys")
    parser.add_argument("--minutes")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    events, titles = tables(options.data, options.table)
    is_last = pl.col("user_id") != pl.col("user_id").shift(-1)
    is_last = is_last.fill_null(value=True)
    before, last = events.filter(~is_last), events.filter(is_last)
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        minutes = ["--minutes", options.minutes] if options.minutes else []
        store, out = trained(before, titles, work, minutes)
        system = load_system(out)
        data = prepare_dataset(store, system.settings, out / VECTORS)
        holdout = asked(data, last)
        missed, n_items = len(last) - len(holdout), len(data.items)
        found = {MAIN: figures(system.model, holdout, n_items, missed)}
        print(f"{MAIN}: {found[MAIN]['ndcg@10'].mean():.4f}", file=sys.stderr, flush=True)
        board = json.loads((current(out) / "leaderboard.json").read_text("utf-8"))
        chosen = board["chosen"]
        for row in board["rows"]:
            if row["model"] in {chosen, *MIXTURES}:
                continue
            model = make_model(row["model"], row["config"])
            model.fit(data, Selection().run())
            found[row["model"]] = figures(model, holdout, n_items, missed)
            print(f"{row['model']}: {found[row['model']]['ndcg@10'].mean():.4f}", file=sys.stderr, flush=True)
    print(f"{options.table}, {MAIN} chose {chosen}: {', '.join(METRICS)}, the difference from it")
    held = True
    for name, each in sorted(found.items(), key=lambda pair: -pair[1]["ndcg@10"].mean()):
        gain = bootstrap_interval(each["ndcg@10"] - found[MAIN]["ndcg@10"])
        ahead = name != MAIN and gain.low > 0
        held &= not ahead
        means = "  ".join(f"{each[metric].mean():.4f}" for metric in METRICS)
        print(f"  {name:28} {means}  {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]{'  AHEAD' * ahead}")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
