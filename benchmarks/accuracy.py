"""Models beside the published tables: all items ranked, those in the history left out.

    python benchmarks/accuracy.py --data DIR [--table beauty|toys|ml-1m] [--models A,B] [--seeds 0,1,2] [--shuffled]
        [--protocol leave-one-out|time] [--against A] [--encoders A,B] [--settings FILE.json] [--work DIR]
        [--results DIR] [--out FILE.json]

DIR holds amazon2014-beauty, amazon2014-toys and ml-1m, each with interactions.parquet and items.parquet. Leave-one-out,
which the published figures are of, everybody's last event but one chooses the settings and the last one tests; by time,
the events between 80 % and 90 % choose and those that come later test. The model that is tested is trained on all
before it, at the settings that the first seed chose. What happened on one day stands in the order in which the data is
published; --shuffled puts it in a random one, since that order tells the answer. Of text the catalogue's titles are
read, through --encoders by models that read those. The last rows are a blend of all the models and a ranker over it,
as `zhiyin train` makes them: weighed and taught on what chose the settings. Figures are means over the seeds, with
their standard deviation; seconds are of one fit, of an interrupted one since it went on. --settings holds settings by
model, which then tries no others.
--results keeps figures and fitted models: what is there is not made again, so other settings take another folder; an
interrupted training goes on. Published figures are in published.json beside this file.
--against names the model, no part of blend and ranker, whose NDCG@10 is taken off that of each other, user by user, in
the mean over the seeds: the difference with its 95 % interval over users, of all answers and of those that at most 5
events are trained on.
--out keeps all that is printed as JSON, which outcomes.py makes docs/accuracy.md of.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from outcomes import METRICS, lines
from preparing import prepared
from safetensors.numpy import load_file, save_file

from zhiyin.app.contenders import MIXTURES
from zhiyin.app.divisions import Divisions, divisions
from zhiyin.app.mixing import joined, mixed
from zhiyin.app.registry import make_model, reads_encoders
from zhiyin.app.selection import Selection, Trial, best_fit
from zhiyin.cli.show import Bars, console
from zhiyin.core.arrays import FloatVector
from zhiyin.core.models import Model
from zhiyin.evaluation.intervals import bootstrap_interval
from zhiyin.evaluation.ranking import View, evaluate_views, mean_defined

FOLDERS = {"beauty": "amazon2014-beauty", "toys": "amazon2014-toys", "ml-1m": "ml-1m"}
PROTOCOLS = ("leave-one-out", "time")
MODELS = "popularity,text-neighbours,content,item-neighbours,linear,transformer"
DIFFERENCES = {"all": "ndcg@10", "rare": "rare ndcg@10"}
FIGURES = (*METRICS, DIFFERENCES["rare"])
RARE = 5
ENCODERS = "use-multilingual"
CHECKPOINTS = "checkpoints"


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


def read(data: Path, table: str, shuffled: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events, user by user in order, and titles."""
    folder = data / FOLDERS[table]
    catalogue = pl.read_parquet(folder / "items.parquet")
    titles = catalogue.select(column for column in catalogue.columns if column in {"asin", "movieId", "title"})
    return ordered(pl.read_parquet(folder / "interactions.parquet"), shuffled), titles


def divided(
    data: Path, table: str, encoders: Sequence[str], work: Path, *, shuffled: bool = False, protocol: str = PROTOCOLS[0]
) -> Divisions:
    return divisions(prepared(*read(data, table, shuffled), encoders, work), protocol, 0)


@dataclass(frozen=True)
class Tested:
    """seconds: of the fit. figures: by name, (users,)."""

    seconds: float
    figures: Mapping[str, FloatVector]

    @classmethod
    def read(cls, path: Path) -> Self:
        with np.load(path) as found:
            return cls(float(found["seconds"]), {each: found[each] for each in FIGURES})

    def write(self, path: Path) -> None:
        building = path.with_suffix(".building.npz")
        np.savez(building, allow_pickle=False, seconds=np.array(self.seconds), **self.figures)
        building.replace(path)


@dataclass(frozen=True)
class Bench:
    """settings: by model. kept: the folder of what was measured before."""

    parts: Divisions
    encoders: Sequence[str]
    settings: Mapping[str, Mapping[str, Any]]
    kept: Path

    def chosen(self, name: str, selection: Selection) -> tuple[Trial, Model]:
        """The model at its best settings on validation, fitted on what comes before."""
        told, fit = self.kept / f"{name}-settings.json", self.kept / f"{name}-validation.safetensors"
        if told.exists():
            trial = Trial(**{"intervals": {}, **json.loads(told.read_text("utf-8"))})
            return trial, loaded(trial, fit)
        given = self.settings.get(name, {})
        fixed = {"encoders": tuple(self.encoders)} if reads_encoders(name) and "encoders" not in given else {}
        selection = replace(selection, settings=given, fixed=fixed, checkpoints=self.kept / CHECKPOINTS)
        trial, model = best_fit(name, self.parts.validation, selection)
        save_file(dict(model.parameters()), fit)
        written(told, about(trial))
        return trial, model

    def mixtures(self, trials: Mapping[str, Trial], fitted: Mapping[str, Model], seed: int) -> dict[str, Trial]:
        """Of the models `fitted`, by name."""
        paths = {name: self.kept / f"{name}-{digest(fitted)}-settings.json" for name in MIXTURES}
        if not all(path.exists() for path in paths.values()):
            for name, trial in mixed(trials, fitted, self.parts.validation, seed).items():
                save_file(dict(trial.learned), paths[name].with_suffix(".safetensors"))
                written(paths[name], about(trial))
        found = {name: json.loads(path.read_text("utf-8")) for name, path in paths.items()}
        learned = {name: load_file(path.with_suffix(".safetensors")) for name, path in paths.items()}
        return {name: Trial(intervals={}, learned=learned[name], **told) for name, told in found.items()}

    def tested_mixture(self, trial: Trial, parts: Mapping[str, Model], seconds: float, seed: int) -> Tested:
        """seconds: of the fits of its `parts`."""
        assert self.parts.test is not None
        told = self.kept / f"{trial.model}-{digest(parts)}-{seed}.npz"
        if told.exists():
            return Tested.read(told)
        tested = Tested(seconds, self.figures(joined(trial, parts, self.parts.test.train)))
        tested.write(told)
        return tested

    def tested(self, trial: Trial, selection: Selection) -> tuple[Model, Tested]:
        """The model, fitted on all that comes before the test, and how it did there."""
        assert self.parts.test is not None
        name = f"{trial.model}-{selection.seed}"
        told, fit = self.kept / f"{name}.npz", self.kept / f"{name}.safetensors"
        if told.exists():
            return loaded(trial, fit), Tested.read(told)
        began = time.perf_counter()
        model = make_model(trial.model, trial.config)
        model.fit(self.parts.test.train, replace(selection.run(), checkpoints=self.kept / CHECKPOINTS / name))
        tested = Tested(time.perf_counter() - began, self.figures(model))
        save_file(dict(model.parameters()), fit)
        tested.write(told)
        return model, tested

    def figures(self, model: Model) -> dict[str, FloatVector]:
        assert self.parts.test is not None
        test, n_items = self.parts.test, len(self.parts.test.train.items)
        met = np.bincount(test.train.histories.items, minlength=n_items)
        views = {"": View(), "rare ": View(targets=np.flatnonzero(met <= RARE))}
        found = evaluate_views(model, test.holdout, n_items, views, ks=(5, 10))
        told = {f"{view}{metric}": found[view].metrics[metric] for view in views for metric in METRICS}
        return {name: told[name] for name in FIGURES}


def about(trial: Trial) -> dict[str, Any]:
    return {"model": trial.model, "config": trial.config, "validation": trial.validation, "seconds": trial.seconds}


def digest(names: Iterable[str]) -> str:
    return hashlib.sha256(",".join(sorted(names)).encode()).hexdigest()[:8]


def loaded(trial: Trial, fit: Path) -> Model:
    model = make_model(trial.model, trial.config)
    model.load_parameters(load_file(fit))
    return model


def written(path: Path, told: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(told, indent=1), "utf-8")


def differences(found: Mapping[str, Sequence[Tested]], against: str) -> list[dict[str, Any]]:
    """Of every model but `against`, how far its NDCG@10 is above."""
    users = {
        name: {what: np.mean([each.figures[figure] for each in runs], axis=0) for what, figure in DIFFERENCES.items()}
        for name, runs in found.items()
    }
    rows = []
    for name, own in users.items():
        gains = {}
        for what, theirs in users[against].items():
            gain = bootstrap_interval(own[what] - theirs)
            means = {"own": mean_defined(own[what]), "theirs": mean_defined(theirs)}
            gains[what] = {**means, "users": gain.n, "mean": gain.mean, "low": gain.low, "high": gain.high}
        rows.append({"model": name, "gains": gains})
    return [row for row in rows if row["model"] != against]


def told(options: argparse.Namespace, trials: Mapping[str, Trial], found: Mapping[str, Sequence[Tested]]) -> Any:
    """All of it, as `outcomes` shows it."""
    first = next(iter(found.values()))[0]
    rows = [
        {
            "model": name,
            "config": dict(trial.config),
            "validation": trial.validation,
            "seconds": [each.seconds for each in found[name]],
            "figures": {metric: [mean_defined(each.figures[metric]) for each in found[name]] for metric in METRICS},
        }
        for name, trial in trials.items()
    ]
    asked = [f"--table {options.table}", f"--models {options.models}", f"--seeds {options.seeds}"]
    asked += ["--shuffled"] * options.shuffled
    asked += [f"--protocol {options.protocol}"] * (options.protocol != PROTOCOLS[0])
    asked += [f"--against {options.against}"] * bool(options.against)
    asked += [f'--encoders "{options.encoders}"'] * (options.encoders != ENCODERS)
    asked += ["--settings FILE.json"] * bool(options.settings)
    return {
        "command": f"python benchmarks/accuracy.py --data DIR {' '.join(asked)}",
        "table": options.table,
        "protocol": options.protocol,
        "shuffled": options.shuffled,
        "seeds": options.seeds,
        "users": len(first.figures[METRICS[0]]),
        "rows": rows,
        "against": options.against,
        "differences": differences(found, options.against) if options.against else [],
        "load": os.getloadavg(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=tuple(FOLDERS), default="beauty")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0])
    parser.add_argument("--against")
    parser.add_argument("--encoders", default=ENCODERS)
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    encoders = [name for name in options.encoders.split(",") if name]
    settings = json.loads(options.settings.read_text("utf-8")) if options.settings else {}
    with tempfile.TemporaryDirectory() as scratch, Bars(console()) as bars:
        by_time, work = options.protocol == "time", options.work or Path(scratch)
        kept = options.results or Path(scratch)
        kept /= f"{options.table}{'-time' * by_time}{'-shuffled' * options.shuffled}"
        kept.mkdir(parents=True, exist_ok=True)
        order = {"shuffled": options.shuffled, "protocol": options.protocol}
        parts = divided(options.data, options.table, encoders, work, **order)
        assert parts.test is not None
        bench = Bench(parts, encoders, settings, kept)
        selections = [Selection(seed, progress=bars, protocol=options.protocol) for seed in seeds]
        trials, fitted = {}, {}
        for name in options.models.split(","):
            bars.begin(f"{name}, choosing settings")
            trials[name], fitted[name] = bench.chosen(name, selections[0])
        mixing = [name for name in trials if name != options.against]
        if len(mixing) > 1:
            bars.begin(f"{' and '.join(MIXTURES)}, learning")
            trials |= bench.mixtures(trials, {name: fitted[name] for name in mixing}, seeds[0])
        fitted.clear()
        found: dict[str, list[Tested]] = {name: [] for name in trials}
        for selection in selections:
            models: dict[str, Model] = {}
            for name, trial in trials.items():
                bars.begin(f"{name}, test with seed {selection.seed}")
                if name in MIXTURES:
                    seconds = sum(found[part][-1].seconds for part in trial.config["parts"])
                    used = {part: models[part] for part in mixing}
                    found[name].append(bench.tested_mixture(trial, used, seconds, selection.seed))
                else:
                    models[name], tested = bench.tested(trial, selection)
                    found[name].append(tested)
    outcome = told(options, trials, found)
    print("\n".join(lines(outcome)))
    if options.out:
        written(options.out, outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
