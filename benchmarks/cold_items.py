"""Items that training has never met: models that read content beside those that do not.

    python benchmarks/cold_items.py --data DIR [--dataset beauty|ml-1m] [--model transformer|attentive]
        [--encoder NAME] [--models A,B] [--seeds 0,1,2] [--epochs N] [--work DIR] [--out FILE.json]

DIR holds amazon2014-beauty and ml-1m, each with interactions.parquet and items.parquet. --model knows items by their
ids; beside it stands a blend of the same model, once reading content and once not, with content and text neighbours.
--models names others, such as content+use-multilingual with the encoder whose vectors it reads. All are trained before
the time that 80 % of the events precede, and asked about what users went on to after it. On beauty the new items are
those that first appear then; of ml-1m a fifth of the items is held out besides, others for each seed. Settings are
chosen alike within what is left to train on; those of --model are its defaults, alone and in the blend. --epochs bounds
the training of the gradient models; --work keeps item vectors between runs.

It ends with status 1 unless the blend beats text-neighbours in NDCG@10 among new items, the 95 % interval of the
difference by user above zero, and in NDCG@10 of known items is at most 1 % below the model without content.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from preparing import prepared

from zhiyin.app.cold import (
    COLD,
    METRICS,
    REFERENCE,
    VIEWS,
    WARM,
    ColdReport,
    ColdRequest,
    ColdRow,
    compare_cold,
    parsed,
)
from zhiyin.app.figures import Interval
from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED
from zhiyin.cli.show import Bars, console
from zhiyin.core.dataset import Dataset
from zhiyin.core.models import TunableModel

PROTOCOLS = {"beauty": "first-appearance", "ml-1m": "random"}
MODELS = "popularity,text-neighbours,content+use-multilingual"
BLEND = "blend"

WARM_LOSS = 0.01


def described(data: Path, dataset: str, encoders: Sequence[str], work: Path | None) -> Dataset:
    """The data set with the vectors of every encoder; of beauty the catalogue's text is the title alone."""
    folder = data / {"beauty": "amazon2014-beauty", "ml-1m": "ml-1m"}[dataset]
    items = pl.read_parquet(folder / "items.parquet")
    told = items.select("asin", "title") if dataset == "beauty" else items
    return prepared(folder / "interactions.parquet", told, encoders, work)


def settings_of(model: str, encoder: str, epochs: int | None) -> dict[str, dict[str, Any]]:
    """Of the model of ids, alone and as a part of the blend, where it reads the encoder."""
    tuned = make_model(model)
    assert isinstance(tuned, TunableModel)
    searched = {name for settings in tuned.search for name in settings}
    plain = {**tuned.config.model_dump(include=searched), **({"epochs": epochs} if epochs else {})}
    parts = {
        model: {**plain, "encoders": (encoder,)},
        f"{model}:ids": {**plain, "encoders": ()},
        "content": {},
        "text-neighbours": {},
    }
    return {model: plain, BLEND: {"parts": parts}}


def misses(report: ColdReport, model: str, blend: str) -> list[str]:
    best, twin = report.row(blend), report.row(model)
    assert best is not None
    assert twin is not None
    found = []
    if best.ahead is None or not best.ahead.difference.low > 0:
        found.append(f"{blend} does not beat {REFERENCE} among new items")
    if not warm(best) >= (1 - WARM_LOSS) * warm(twin):
        found.append(f"{blend} loses more than {WARM_LOSS:.0%} of {WATCHED} on known items to {model}")
    return found


def warm(row: ColdRow) -> float:
    return row.intervals[WARM][WATCHED].mean


def show(report: ColdReport) -> None:
    print(f"{report.users:,} users are asked; new items by seed: {', '.join(f'{n:,}' for n in report.items)}")
    for view in VIEWS:
        asked = report.rows[0].intervals[view][WATCHED].n
        print(f"\n{view}, {asked:,} users" + (f"; difference in {WATCHED} from {REFERENCE}" if view == COLD else ""))
        for row in report.rows:
            cells = [interval(row.intervals[view][name], name) for name in METRICS]
            if view == COLD and row.ahead is not None:
                cells.append(interval(row.ahead.difference, "difference") + f"  p {row.ahead.p:.4f}")
            print(f"  {row.model:32} {'  '.join(cells)}")
    print()
    for row in report.rows:
        if row.validation is not None:
            print(f"{row.model}: validation {row.validation:.4f}, {row.seconds:.0f} s, {json.dumps(row.config)}")


def interval(values: Interval, name: str) -> str:
    return f"{name} {values.mean:.4f} [{values.low:.4f}, {values.high:.4f}]"


def written(report: ColdReport) -> str:
    rows = [
        {
            "model": row.model,
            "config": row.config,
            "validation": row.validation,
            "seconds": row.seconds,
            "figures": {view: {m: asdict(i) for m, i in metrics.items()} for view, metrics in row.intervals.items()},
            "ahead": asdict(row.ahead) if row.ahead is not None else None,
        }
        for row in report.rows
    ]
    return json.dumps({"items": report.items, "users": report.users, "rows": rows}, indent=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", choices=tuple(PROTOCOLS), default="beauty")
    parser.add_argument("--model", default="transformer")
    parser.add_argument("--encoder", default="use-multilingual")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    blend = f"{BLEND}+{options.encoder}"
    models = [*(name for name in options.models.split(",") if name), options.model, blend]
    encoders = list(dict.fromkeys(encoder for name in models for encoder in parsed(name)[1]))
    data = described(options.data, options.dataset, encoders, options.work)
    began = time.perf_counter()
    with Bars(console()) as bars:
        report = compare_cold(
            data,
            ColdRequest(
                models=models,
                protocol=PROTOCOLS[options.dataset],
                seeds=[int(seed) for seed in options.seeds.split(",")],
                settings=settings_of(options.model, options.encoder, options.epochs),
                progress=bars,
                announce=bars.begin,
            ),
        )
    show(report)
    if options.out is not None:
        options.out.write_text(written(report), "utf-8")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{options.dataset}, seeds {options.seeds}: {time.perf_counter() - began:.0f} s, load average {load}")
    missed = misses(report, options.model, blend)
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
