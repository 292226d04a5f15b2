"""Users whom training has never met, after 0, 1, 2, 3 and 5 of their events.

    python benchmarks/cold_users.py --data DIR [--dataset ml-1m|beauty] [--models A,B] [--seeds 0,1,2] [--epochs N]
        [--work DIR] [--out FILE.json] [--plot FILE.png]

DIR holds ml-1m and amazon2014-beauty, each with interactions.parquet and items.parquet. All models are trained before
the time that 80 % of the events precede, on all that happened until then and nothing later. Those who first come after
it are asked right after so many of their events, and the answers are all that they went on to after the fifth: the same
for every number. All items are ranked but those five. Settings are chosen in the same way within what is left to train
on, by the mean over 1, 2, 3 and 5 events. Popularity answers the same questions, and stands for every model where
nothing is known yet, as it does when a system serves. Seeds train anew. --epochs bounds the training of the gradient
models; --work keeps item vectors between runs.

It ends with status 1 unless the model that validation prefers is above popularity in NDCG@10 after 1, 2, 3 and 5
events, the 95 % interval of the difference by user above zero each time.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cold_items import PROTOCOLS, described, interval

from zhiyin.app.cold_users import AFTER, POPULAR, ColdUsersReport, ColdUsersRequest, compare_cold_users
from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED
from zhiyin.cli.show import Bars, console
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.evaluation.curves import save_curves

CONDITIONAL, BLEND = "conditional-popularity", "blend"
MODELS = f"{CONDITIONAL},attentive,content,item-neighbours,ease,{BLEND}"
PARTS = (CONDITIONAL, "attentive")


def settings_of(models: Sequence[str], epochs: int | None) -> dict[str, Mapping[str, Any]]:
    bounds = {
        name: {"epochs": epochs} if epochs and "epochs" in type(make_model(name).config).model_fields else {}
        for name in {*models, *PARTS}
    }
    return {**bounds, BLEND: {"parts": {name: bounds[name] for name in PARTS}}}


def misses(report: ColdUsersReport) -> list[str]:
    best = report.preferred
    if not best.ahead:
        return [f"validation prefers {POPULAR} to every model"]
    return [
        f"{best.model} is not above {POPULAR} after {k} events"
        for k in AFTER
        if k > 0 and not best.ahead[k].difference.low > 0
    ]


def show(report: ColdUsersReport) -> None:
    print(f"{report.users} new users; settings chosen on {report.validated} earlier ones\n")
    for k in AFTER:
        print(f"after {k} events")
        for row in report.rows:
            cells = [interval(row.intervals[k], WATCHED)]
            if row.ahead:
                cells.append(interval(row.ahead[k].difference, "difference") + f"  p {row.ahead[k].p:.4f}")
            print(f"  {row.model:24} {'  '.join(cells)}")
    print()
    for row in report.rows:
        print(f"{row.model}: validation {row.validation:.4f}, {row.seconds:.0f} s, {json.dumps(row.config)}")
    print(f"validation prefers {report.preferred.model}")


def written(report: ColdUsersReport) -> str:
    rows = [
        {
            "model": row.model,
            "config": row.config,
            "validation": row.validation,
            "seconds": row.seconds,
            WATCHED: {k: asdict(each) for k, each in row.intervals.items()},
            "ahead": {k: asdict(each) for k, each in row.ahead.items()},
        }
        for row in report.rows
    ]
    return json.dumps({"users": report.users, "preferred": report.preferred.model, "rows": rows}, indent=1)


def plot(report: ColdUsersReport, path: Path) -> None:
    best = report.preferred
    save_curves(
        path,
        WATCHED,
        {row.model: row.intervals for row in report.rows},
        {best.model: {k: test.difference for k, test in best.ahead.items()}} if best.ahead else {},
        baseline=POPULAR,
        main=best.model,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", choices=tuple(PROTOCOLS), default="ml-1m")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    models = [name for name in options.models.split(",") if name]
    encoders = PreparationSettings().encoders if "content" in models else ()
    data = described(options.data, options.dataset, encoders, options.work)
    began = time.perf_counter()
    with Bars(console()) as bars:
        report = compare_cold_users(
            data,
            ColdUsersRequest(
                models=models,
                seeds=[int(seed) for seed in options.seeds.split(",")],
                settings=settings_of(models, options.epochs),
                progress=bars,
                announce=bars.begin,
            ),
        )
    show(report)
    if options.out is not None:
        options.out.write_text(written(report), "utf-8")
    if options.plot is not None:
        plot(report, options.plot)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{options.dataset}, seeds {options.seeds}: {time.perf_counter() - began:.0f} s, load average {load}")
    missed = misses(report)
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
