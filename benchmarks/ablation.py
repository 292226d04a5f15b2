"""What each ingredient of the flagship is worth: removed in turn, and the rest learned anew.

    python benchmarks/ablation.py --data DIR [--table beauty|toys|ml-1m] [--seeds 0,1,2] [--epochs N]
        [--encoders A,B] [--work DIR] [--results DIR]

The flagship is the ranker over text neighbours, content, `linear` and a transformer, as `zhiyin train` makes it,
leave-one-out in the published order. Of a part something is left out, or the part altogether; the blend is weighed and
the ranker taught anew without it, on validation, with the first seed. Figures are of the test, means over the seeds
with their standard deviation; the difference from the whole has its 95 % interval over users. --results keeps what was
fitted, and goes on from there.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import FOLDERS, Bench, divided

from zhiyin.app.contenders import MIXTURES
from zhiyin.app.mixing import joined
from zhiyin.app.selection import Selection, Trial
from zhiyin.cli.show import Bars, console
from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.dataset import Query, Split
from zhiyin.core.models import Candidates, Model, gather
from zhiyin.evaluation.intervals import bootstrap_interval
from zhiyin.evaluation.ranking import evaluate_stages

METRIC, RECALL = "ndcg@10", "recall@10"
WHOLE = "the whole"
BLEND, RANKER = MIXTURES
PARTS = ("text-neighbours", "content", "linear", "transformer")
RATES: dict[str, Any] = {"past": (1.0, 0.1)}
SPECIAL: dict[str, dict[str, Any]] = {
    "linear:one-rate": {"past": (0.3,)},
    "linear:without-words": {**RATES, "words": 0.0},
    "linear:without-content": {**RATES, "content": 0.0},
    "linear:next-alone": {**RATES, "horizon": 1},
    "transformer:ids": {"encoders": ()},
}
REMOVED: dict[str, Mapping[str, str | None]] = {
    "linear": {"linear": None},
    "  its second rate of fading": {"linear": "linear:one-rate"},
    "  nearness of words in it": {"linear": "linear:without-words"},
    "  nearness of content in it": {"linear": "linear:without-content"},
    "  what comes after the next": {"linear": "linear:next-alone"},
    "transformer": {"transformer": None},
    "  content in it": {"transformer": "transformer:ids"},
    "text-neighbours": {"text-neighbours": None},
    "content": {"content": None},
}
"""What is left out -> parts in the place of others, or of nothing."""


def settings_of(epochs: int) -> dict[str, dict[str, Any]]:
    """Of every part and of what stands in for it; chosen by validation on Beauty."""
    network = {
        "dim": 32,
        "length": 50,
        "dropout": 0.5,
        "batch_users": 128,
        "questions": 50,
        "half_life_days": None,
        "horizon": 1,
        "trust": 1.0,
        "epochs": epochs,
        "patience": 0,
    }
    plain: dict[str, dict[str, Any]] = {name: {} for name in PARTS}
    named = {**plain, "linear": RATES, **SPECIAL}
    return {name: {**(network if name.startswith("transformer") else {}), **own} for name, own in named.items()}


def remembering(model: Model) -> Model:
    """The model, which is asked by many and now answers but once."""
    answer, last = model.score, dict[str, Any]()

    def score(queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        if last.get("queries") is not queries:
            last.update(queries=queries, scores=answer(queries))
        return gather(last["scores"], candidates)

    vars(model)["score"] = score
    return model


def together(
    made: Mapping[str, Trial], models: Mapping[str, Model], test: Split
) -> dict[str, Mapping[str, FloatVector]]:
    """Figures of each of those `made` of the models."""
    whole = {what: joined(trial, models, test.train) for what, trial in made.items()}

    def scored(queries: Sequence[Query]) -> dict[str, FloatMatrix]:
        return {what: model.score(queries) for what, model in whole.items()}

    results = evaluate_stages(scored, test.holdout, len(test.train.items), ks=(10,))
    return {what: result.metrics for what, result in results.items()}


def remaining(removed: Mapping[str, str | None]) -> list[str]:
    instead = [removed.get(part, part) for part in PARTS]
    return [name for name in instead if name is not None]


def line(name: str, runs: Sequence[Mapping[str, FloatVector]], whole: FloatVector) -> str:
    figures = [float(run[METRIC].mean()) for run in runs]
    recall = float(np.mean([run[RECALL].mean() for run in runs]))
    spread = f" ± {np.std(figures, ddof=1):.4f}" if len(figures) > 1 else ""
    less = bootstrap_interval(np.mean([run[METRIC] for run in runs], axis=0) - whole)
    told = f"{less.mean:+.4f} [{less.low:+.4f}, {less.high:+.4f}]"
    return f"  {name:32} {np.mean(figures):.4f}{spread}  {recall:.4f}  {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=tuple(FOLDERS), default="beauty")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--encoders", default="use-multilingual")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    encoders = [name for name in options.encoders.split(",") if name]
    with tempfile.TemporaryDirectory() as scratch, Bars(console()) as bars:
        kept = (options.results or Path(scratch)) / f"{options.table}-ablation"
        kept.mkdir(parents=True, exist_ok=True)
        parts = divided(options.data, options.table, encoders, options.work or Path(scratch))
        assert parts.test is not None
        settings = settings_of(options.epochs)
        bench = Bench(parts, encoders, settings, kept)
        selections = [Selection(seed, progress=bars, protocol=parts.protocol) for seed in seeds]
        trials: dict[str, Trial] = {}
        fitted: dict[str, Model] = {}
        for name in settings:
            bars.begin(f"{name}, validation")
            trials[name], fitted[name] = bench.chosen(name, selections[0])
        made: dict[str, Trial] = {}
        for what, removed in {WHOLE: {}, **REMOVED}.items():
            bars.begin(f"learning without {what}" if removed else what)
            names = remaining(removed)
            both = bench.mixtures(trials, {name: fitted[name] for name in names}, seeds[0])
            made[what] = both[RANKER]
            if not removed:
                made["ranker over the blend"] = both[BLEND]
        found: dict[str, list[Mapping[str, FloatVector]]] = {what: [] for what in made}
        seconds: dict[str, float] = {}
        for selection in selections:
            models: dict[str, Model] = {}
            for name in settings:
                bars.begin(f"{name}, test with seed {selection.seed}")
                model, tested = bench.tested(trials[name], selection)
                models[name], seconds[name] = remembering(model), tested.seconds
            bars.begin(f"all together, test with seed {selection.seed}")
            for what, metrics in together(made, models, parts.test).items():
                found[what].append(metrics)
    whole = np.mean([run[METRIC] for run in found[WHOLE]], axis=0)
    print(f"{options.table}, leave-one-out, seeds {options.seeds}: {METRIC}, {RECALL}, and the difference without")
    for what, runs in found.items():
        print(line(what, runs, whole))
    print(f"one fit: {', '.join(f'{name} {spent:.0f} s' for name, spent in seconds.items())}")
    print(f"load average {', '.join(f'{value:.2f}' for value in os.getloadavg())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
