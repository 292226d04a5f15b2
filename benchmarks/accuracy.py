"""Models beside the published tables: leave-one-out, all items ranked, those in the history left out.

    python benchmarks/accuracy.py --data DIR [--table beauty|toys|ml-1m] [--models A,B] [--seeds 0,1,2] [--shuffled]
        [--encoders A,B] [--work DIR] [--results DIR]

DIR holds amazon2014-beauty, amazon2014-toys and ml-1m, each with interactions.parquet and items.parquet. Everybody's
last event but one chooses the settings, the last one tests; the model that is tested is trained on all before it, at
the settings that the first seed chose. What happened on one day stands in the order in which the data is published;
--shuffled puts it in a random one, since that order tells the answer. Of text the catalogue's titles are read. A+B+C
is a blend of those models, which reads --encoders. Figures are means over the seeds, with their standard deviation.
--results keeps those of each model and seed: what is there is not measured again, so other --encoders take another
folder. Published figures are in published.json beside this file.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zhiyin.app.comparison import Divisions, divisions
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection, Trial, best_trial
from zhiyin.cli.show import Bars, console
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.ranking import evaluate_ranking

FOLDERS = {"beauty": "amazon2014-beauty", "toys": "amazon2014-toys", "ml-1m": "ml-1m"}
PROTOCOL = "leave-one-out"
METRICS = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")
MODELS = "popularity,text-neighbours,ease,linear"
PUBLISHED = Path(__file__).with_name("published.json")


def ordered(events: pl.DataFrame, shuffled: bool) -> pl.DataFrame:
    """In the order of each user's events, which a missing day takes its place in; `shuffled` within a day."""
    if "position" not in events.columns:
        return events
    user, day = "user_id", "timestamp"
    known = pl.col(day).forward_fill().backward_fill().over(user)
    whole = events.sort(user, "position").with_columns(known.alias(day))
    if not shuffled:
        return whole
    at_random = np.random.default_rng(0).permutation(len(whole))
    return whole.with_columns(pl.Series("position", at_random)).sort(user, day, "position")


def divided(data: Path, table: str, shuffled: bool, encoders: Sequence[str], work: Path) -> Divisions:
    folder = data / FOLDERS[table]
    with tempfile.TemporaryDirectory() as scratch:
        events, items = Path(scratch) / "events.parquet", Path(scratch) / "items.parquet"
        ordered(pl.read_parquet(folder / "interactions.parquet"), shuffled).write_parquet(events)
        catalogue = pl.read_parquet(folder / "items.parquet")
        catalogue.select(
            column for column in catalogue.columns if column in {"asin", "movieId", "title"}
        ).write_parquet(items)
        store = f"sqlite:///{scratch}/events.db"
        ingest(IngestRequest(events=[events], store=store, catalogue=items, refused=Path(scratch) / "refused.csv"))
        prepared = prepare_dataset(store, PreparationSettings(encoders=tuple(encoders)), work)
    return divisions(prepared, PROTOCOL, 0)


def described(name: str, encoders: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """Registered name and settings."""
    if "+" not in name:
        return name, {}
    return "blend", {"parts": {part: {} for part in name.split("+")}, "encoders": encoders}


def chosen(name: str, parts: Divisions, encoders: Sequence[str], selection: Selection, kept: Path) -> Trial:
    """The model at its best settings on validation."""
    path = kept / f"{name}-settings.json"
    if path.exists():
        return Trial(**json.loads(path.read_text("utf-8")))
    model, fixed = described(name, encoders)
    trial = best_trial(model, parts.validation, replace(selection, fixed=fixed))
    told = replace(trial, intervals={}, history=())
    path.write_text(json.dumps(vars(told), indent=1), "utf-8")
    return told


def tested(name: str, trial: Trial, parts: Divisions, selection: Selection, kept: Path) -> dict[str, Any]:
    """Figures of the model, trained on all that comes before the test, and the seconds that took."""
    path = kept / f"{name}-{selection.seed}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    assert parts.test is not None
    began = time.perf_counter()
    model = make_model(trial.model, trial.config)
    model.fit(parts.test.train, selection.run())
    seconds = time.perf_counter() - began
    means = evaluate_ranking(model, parts.test.holdout, len(parts.test.train.items), ks=(5, 10)).means()
    found = {"seconds": seconds, **{metric: means[metric] for metric in METRICS}}
    path.write_text(json.dumps(found, indent=1), "utf-8")
    return found


def line(name: str, figures: Mapping[str, Sequence[float]], rest: str = "") -> str:
    cells = []
    for metric in METRICS:
        values = figures.get(metric, ())
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.4f}{spread}" if len(values) else "-")
    return f"  {name:32} {'  '.join(f'{cell:15}' for cell in cells)}{rest}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=tuple(FOLDERS), default="beauty")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--encoders", default="")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    encoders = [name for name in options.encoders.split(",") if name]
    rows = []
    with tempfile.TemporaryDirectory() as scratch, Bars(console()) as bars:
        work, results = options.work or Path(scratch), options.results or Path(scratch)
        kept = results / f"{options.table}{'-shuffled' * options.shuffled}"
        kept.mkdir(parents=True, exist_ok=True)
        parts = divided(options.data, options.table, options.shuffled, encoders, work)
        for name in options.models.split(","):
            selections = [Selection(seed, progress=bars, protocol=PROTOCOL) for seed in seeds]
            bars.begin(f"{name}, choosing settings")
            trial = chosen(name, parts, encoders, selections[0], kept)
            found = []
            for selection in selections:
                bars.begin(f"{name}, test with seed {selection.seed}")
                found.append(tested(name, trial, parts, selection, kept))
            figures = {metric: [each[metric] for each in found] for metric in METRICS}
            rest = f"  {np.mean([each['seconds'] for each in found]):.0f} s  validation {trial.validation:.4f}"
            rows.append((name, figures, f"{rest}  {json.dumps(trial.config)}"))
    print(f"{options.table}, {PROTOCOL}, seeds {options.seeds}: {', '.join(METRICS)}")
    for name, published in json.loads(PUBLISHED.read_text("utf-8"))[options.table]:
        print(line(name, {metric: [value] for metric, value in published.items()}))
    for row in rows:
        print(line(*row))
    print(f"load average {', '.join(f'{value:.2f}' for value in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
