"""A network that goes on with what came in since, beside itself as it was and trained anew.

    python benchmarks/updating.py --data DIR [--table beauty|toys|ml-1m] [--model NAME] [--epochs N] [--steps N]
        [--seeds 0,1,2] [--settings FILE.json] [--encoders A,B] [--work DIR]

Trained on the first 80 % of the events, the model goes on in --steps of equal numbers of events up to 90 %, as `zhiyin
update` does it; trained anew, it starts at random with all of them. Each is asked for the next item of every user after
90 %, with all that came before it known; what was before is asked as it was. Figures are NDCG@10 over users, means over
the seeds, with the difference from the one trained anew and its 95 % interval over users; seconds are of what each
costs: of all steps together, of one training anew. Of the settings, --epochs are those of a whole training.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import FOLDERS, read
from preparing import prepared

from zhiyin.app.registry import make_model, reads_encoders
from zhiyin.app.selection import TEST_START, VALIDATION_START, WATCHED, Selection, evaluated
from zhiyin.core.arrays import FloatVector
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.models import Before, Model
from zhiyin.dataset.splits import next_event_split
from zhiyin.evaluation.intervals import bootstrap_interval

EARLIER, UPDATED, ANEW = "as it was", "went on", "trained anew"


def up_to(data: Dataset, moment: int) -> Dataset:
    histories = data.histories.keep(data.histories.timestamps < moment)
    return replace(data, histories=histories, now=moment, fingerprint=f"{data.fingerprint}/{moment}")


def fitted(name: str, settings: dict[str, Any], data: Dataset, seed: int, before: Before | None) -> tuple[Model, float]:
    began = time.perf_counter()
    model = make_model(name, settings)
    model.fit(data, replace(Selection(seed).run(), before=before))
    return model, time.perf_counter() - began


def measured(
    name: str, settings: dict[str, Any], split: Split, moments: list[int], seed: int
) -> dict[str, tuple[float, FloatVector]]:
    """Seconds and the figures of each way."""
    whole = split.train
    same = np.arange(len(whole.items))
    data = up_to(whole, moments[0])
    model, spent = fitted(name, settings, data, seed, None)
    found = {EARLIER: (spent, evaluated(model, split).metrics[WATCHED])}
    together = 0.0
    for moment in moments[1:]:
        longer = up_to(whole, moment)
        share = 1 - len(data.histories.items) / len(longer.histories.items)
        model, spent = fitted(name, settings, longer, seed, Before(model, same, share))
        data, together = longer, together + spent
    found[UPDATED] = (together, evaluated(model, split).metrics[WATCHED])
    model, spent = fitted(name, settings, data, seed, None)
    found[ANEW] = (spent, evaluated(model, split).metrics[WATCHED])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=tuple(FOLDERS), default="beauty")
    parser.add_argument("--model", default="transformer")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--encoders", default="use-multilingual")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    encoders = [name for name in options.encoders.split(",") if name]
    settings: dict[str, Any] = {"epochs": options.epochs}
    if reads_encoders(options.model):
        settings["encoders"] = encoders
    if options.settings:
        settings |= json.loads(options.settings.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        data = prepared(*read(options.data, options.table, shuffled=False), encoders, options.work or Path(scratch))
    split = next_event_split(data, TEST_START)
    shares = np.linspace(VALIDATION_START, TEST_START, options.steps + 1)
    moments = np.quantile(data.histories.timestamps, shares, method="lower").astype(int).tolist()
    runs = [measured(options.model, settings, split, moments, seed) for seed in map(int, options.seeds.split(","))]
    means = {way: np.mean([run[way][1] for run in runs], axis=0) for way in (EARLIER, UPDATED, ANEW)}
    print(
        f"{options.table}, {options.model}, {json.dumps(settings)}, seeds {options.seeds}, {len(split.holdout)} users"
    )
    for way, users in means.items():
        seconds = float(np.mean([run[way][0] for run in runs]))
        less = bootstrap_interval(users - means[ANEW])
        print(f"  {way:14} {users.mean():.4f}  {less.mean:+.4f} [{less.low:+.4f}, {less.high:+.4f}]  {seconds:.0f} s")
    print(f"load average {', '.join(f'{value:.2f}' for value in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
