"""Text, pictures and attributes of films in one model: alone, together, and with one of them gone.

    python benchmarks/fusion.py --data DIR --posters DIR [--model attentive|transformer] [--seeds 0,1,2]
        [--epochs N] [--work DIR] [--out FILE.json]

The data holds ml-1m with interactions.parquet and items.parquet, the posters are ID.jpg by movie id, such as those that
public demonstrations of recommenders on MovieLens bring along; a film without one goes by the rest. Models are trained
before the time that 80 % of the events precede, a fifth of the items held out, others for each seed, at defaults:
nothing is chosen. Known items are ranked among all, new ones among new ones; figures are means over the seeds. --epochs
bounds the training; --work keeps item vectors.

It ends with status 1 unless the model of all three, with any one of them taken away when it is asked, is at most 2 %
below the model that was trained without it, in NDCG@10 of known and of new items.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from preparing import prepared

from zhiyin.app.cold import COLD, WARM, ColdPart, cold_parts
from zhiyin.app.registry import make_model
from zhiyin.app.selection import WATCHED, Selection
from zhiyin.core.dataset import Dataset
from zhiyin.evaluation.ranking import mean_defined

MODALITIES = {"text": "use-multilingual", "image": "efficientnet-lite", "attributes": "attributes"}
LOSS = 0.02
EXAMPLES = 4

Means = dict[str, float]
"""By view."""


def described(data: Path, posters: Path, work: Path | None) -> Dataset:
    films = pl.read_parquet(data / "ml-1m" / "items.parquet")
    places = [posters.resolve() / f"{film}.jpg" for film in films["movieId"]]
    pictures = pl.Series("image", [str(place) if place.is_file() else None for place in places], pl.String)
    events = data / "ml-1m" / "interactions.parquet"
    return prepared(events, films.with_columns(pictures), tuple(MODALITIES.values()), work)


def trained(name: str, modalities: Sequence[str], part: ColdPart, seed: int, epochs: int | None) -> Any:
    settings = {"epochs": epochs} if epochs else {}
    model = make_model(name, {"encoders": tuple(MODALITIES[each] for each in modalities), **settings})
    model.fit(part.split.train, Selection(seed).run())
    return model


def without(model: Any, gone: str) -> Any:
    """The model of all modalities where items have one of them no more."""
    parameters = dict(model.parameters())
    narrowed = np.array(parameters["content.narrowed"])
    width = narrowed.shape[1] // len(MODALITIES)
    place = list(MODALITIES).index(gone)
    narrowed[:, place * width : (place + 1) * width] = 0
    other = type(model)(model.config)
    other.load_parameters({**parameters, "content.narrowed": narrowed})
    return other


def compared(data: Dataset, seed: int, options: argparse.Namespace) -> tuple[dict[str, Means], Any]:
    """By what a model reads, the figures of one seed; and the model of all modalities."""
    part, _ = cold_parts(data, "random", seed)
    found = {}
    for size in range(len(MODALITIES) + 1):
        for chosen in combinations(MODALITIES, size):
            model = trained(options.model, chosen, part, seed, options.epochs)
            found[titled(chosen)] = measured(titled(chosen), part, model, seed)
    for gone in MODALITIES:
        found[removed(gone)] = measured(removed(gone), part, without(model, gone), seed)
    return found, model


def measured(title: str, part: ColdPart, model: Any, seed: int) -> Means:
    figures = part.figures(model, (WARM, COLD))
    found = {view: mean_defined(figures[view][WATCHED]) for view in (WARM, COLD)}
    print(f"seed {seed}  {title:36} {', '.join(f'{view} {value:.4f}' for view, value in found.items())}", flush=True)
    return found


def titled(modalities: Sequence[str]) -> str:
    return " + ".join(modalities) or "ids alone"


def removed(gone: str) -> str:
    return f"all, then without {gone}"


def mean_of(seeds: Sequence[Means]) -> Means:
    return {view: float(np.mean([each[view] for each in seeds])) for view in (WARM, COLD)}


def misses(found: Mapping[str, Means]) -> list[str]:
    missed = []
    for gone in MODALITIES:
        left = titled([name for name in MODALITIES if name != gone])
        for view in (WARM, COLD):
            reached, reference = found[removed(gone)][view], found[left][view]
            if reached < (1 - LOSS) * reference:
                missed.append(f"{view}: {removed(gone)} {reached:.4f}, trained on {left} {reference:.4f}")
    return missed


def show(seeds: Mapping[int, Mapping[str, Means]], found: Mapping[str, Means]) -> None:
    for title, figures in found.items():
        for view in (WARM, COLD):
            each = ", ".join(f"{seed[title][view]:.4f}" for seed in seeds.values())
            print(f"  {title:36} {WATCHED} {view} {figures[view]:.4f}  ({each})")


def show_shares(model: Any, data: Dataset) -> None:
    shares = model.modality_shares()
    whole = (shares > 0).all(axis=1)
    told = ", ".join(f"{name} {share:.2f}" for name, share in zip(MODALITIES, shares[whole].mean(axis=0), strict=True))
    print(f"\nshares in {whole.sum():,} items that have all three: {told}; the others go by what they have")
    for row in [*np.flatnonzero(whole)[:EXAMPLES], *np.flatnonzero(~whole)[:1]]:
        told = ", ".join(f"{name} {share:.2f}" for name, share in zip(MODALITIES, shares[row], strict=True))
        print(f"  {data.catalog.title[row]:48} {told}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--posters", type=Path, required=True)
    parser.add_argument("--model", default="attentive")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    data = described(options.data, options.posters, options.work)
    seeds = {}
    for seed in map(int, options.seeds.split(",")):
        seeds[seed], model = compared(data, seed, options)
    found = {title: mean_of([seed[title] for seed in seeds.values()]) for title in next(iter(seeds.values()))}
    show(seeds, found)
    show_shares(model, data)
    if options.out is not None:
        options.out.write_text(json.dumps({"means": found, "seeds": seeds}, indent=1), "utf-8")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{options.model}, seeds {options.seeds}: {time.perf_counter() - began:.0f} s, load average {load}")
    missed = misses(found)
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
