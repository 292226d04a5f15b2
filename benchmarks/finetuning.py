"""A text encoder before and after it has learned from a shop what its people take together.

    python benchmarks/finetuning.py --data DIR --model FOLDER [--dataset beauty|ml-1m] [--epochs N] [--pairs N]
        [--seed N] [--work DIR]

DIR holds amazon2014-beauty and ml-1m as for cold_items.py, and the questions are those of its test: new items among new
ones, among all, and known items among all. FOLDER is a model of sentence-transformers. It is fine-tuned on what is left
to train on there, at the defaults of `zhiyin finetune` but for --epochs and --pairs; nothing is chosen. Compared
is `content` at its defaults with the vectors of the one and of the other. --work keeps item vectors between runs.

It ends with status 1 unless NDCG@10 of new items among new ones is higher afterwards, the 95 % interval of the
difference by user above zero.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cold_items import PROTOCOLS, described, interval

from zhiyin.app.cold import COLD, METRICS, VIEWS, ColdPart, Figures, cold_parts
from zhiyin.app.finetune import lesson
from zhiyin.app.prepare import contents_of
from zhiyin.app.registry import make_encoder, make_model
from zhiyin.app.selection import WATCHED, Selection
from zhiyin.cli.show import Bars, console
from zhiyin.core.dataset import Dataset
from zhiyin.encoders.cache import encode_cached
from zhiyin.encoders.finetuning import FineTuning, fine_tune
from zhiyin.encoders.sentence_transformers import SentenceTransformers
from zhiyin.evaluation.intervals import bootstrap_intervals, paired_test


def figures(part: ColdPart, data: Dataset, encoder: str, seed: int) -> Figures:
    model = make_model("content", {"encoders": (encoder,)})
    model.fit(data, Selection(seed).run())
    return part.figures(model)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", choices=tuple(PROTOCOLS), default="beauty")
    parser.add_argument("--epochs", type=int, default=FineTuning.epochs)
    parser.add_argument("--pairs", type=int, default=FineTuning.pairs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        work, out = options.work or Path(scratch) / "work", Path(scratch) / "tuned"
        before, after = (f"{SentenceTransformers.name}:{folder}" for folder in (options.model, out))
        data = described(options.data, options.dataset, [before], work)
        part, _ = cold_parts(data, PROTOCOLS[options.dataset], options.seed)
        train = part.split.train
        settings = FineTuning(epochs=options.epochs, pairs=options.pairs, seed=options.seed)
        with Bars(console()) as bars:
            bars.begin(before)
            told = fine_tune(options.model, *lesson(train), out, settings=settings, progress=bars)
        print(f"{told.pairs:,} pairs of {told.texts:,} texts; held-out texts: {told.before:.4f}, then {told.after:.4f}")
        if not told.epoch:
            print("MISSED: no better, nothing saved")
            return 1
        vectors = encode_cached(make_encoder(after), contents_of(train.catalog), work)
        found = {
            "before": figures(part, train, before, options.seed),
            "after": figures(part, replace(train, content={**train.content, after: vectors}), after, options.seed),
        }
    for view in VIEWS:
        print(view)
        for name, each in found.items():
            told_of = bootstrap_intervals(each[view], seed=options.seed)
            print(f"  {name:8} {'  '.join(interval(told_of[metric], metric) for metric in METRICS)}")
    test = paired_test(found["after"][COLD][WATCHED], found["before"][COLD][WATCHED], options.seed)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{COLD}: {interval(test.difference, 'difference')}  p {test.p:.4f}")
    print(f"best after epoch {told.epoch}; {time.perf_counter() - began:.0f} s, load average {load}")
    return 0 if test.difference.low > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
