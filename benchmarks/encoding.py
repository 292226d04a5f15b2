"""What it costs to encode a catalogue, to encode it again unchanged, and to encode it with one item changed.

    python benchmarks/encoding.py --data DIR [--items N] [--encoders A,B] [--sample N]

DIR holds items.parquet with a title of amazon2014-beauty, amazon2014-toys and ml-1m, and captions.parquet of
kuairec-captions-zh. A catalogue of N items, each with a text of its own in English or Chinese, is encoded by the
default encoder into an empty folder, and from it again, as a new process would. --encoders: whose throughput is
measured besides, on a sample of those texts, on one thread.

It ends with status 1 unless the unchanged catalogue takes less than 5 s and no call of the encoder, and the changed one
a single call with a single text.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import torch

from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content, Encoder
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders.cache import encode_cached

SECONDS = 5.0
SOURCES = {
    "amazon2014-beauty/items.parquet": "title",
    "amazon2014-toys/items.parquet": "title",
    "ml-1m/items.parquet": "title",
    "kuairec-captions-zh/captions.parquet": "caption",
}


class Counted:
    """The encoder of that name, made anew. calls: how many texts each call had."""

    name: ClassVar[str] = "counted"

    def __init__(self, name: str) -> None:
        self._encoder: Encoder = make_encoder(name)
        self.modalities = self._encoder.modalities
        self.dim = self._encoder.dim
        self.fingerprint = self._encoder.fingerprint
        self.calls: list[int] = []

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        self.calls.append(len(contents))
        return self._encoder.encode(contents)


def catalogue(data: Path, n: int) -> list[Content]:
    """`n` different texts in a random order: those of the sources, and again with a number behind them."""
    columns = [pl.read_parquet(data / path)[column] for path, column in SOURCES.items()]
    known = list(dict.fromkeys(text for column in columns for text in column.drop_nulls().to_list() if text.strip()))
    texts = [known[row % len(known)] + (f" {row // len(known)}" if row >= len(known) else "") for row in range(n)]
    random.Random(0).shuffle(texts)  # noqa: S311
    return [Content(text=text) for text in texts]


def timed(name: str, contents: Sequence[Content], folder: Path) -> tuple[float, list[int], FloatMatrix]:
    """Seconds, texts of each call, and the vectors."""
    began = time.perf_counter()
    encoder = Counted(name)
    vectors = encode_cached(encoder, contents, folder)
    return time.perf_counter() - began, encoder.calls, vectors


def throughput(name: str, contents: Sequence[Content]) -> float:
    """Texts a second, once the model is loaded."""
    encoder = make_encoder(name)
    encoder.encode(contents[:8])
    began = time.perf_counter()
    encoder.encode(contents)
    return len(contents) / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--encoders", default="hashed-ngrams")
    parser.add_argument("--sample", type=int, default=2_000)
    arguments = parser.parse_args()
    (name,) = PreparationSettings().encoders
    contents = catalogue(arguments.data, arguments.items)
    characters = np.mean([len(content.text or "") for content in contents])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for other in dict.fromkeys([name, *filter(None, arguments.encoders.split(","))]):
            print(f"{other}: {throughput(other, contents[: arguments.sample]):,.0f} texts a second")
        first, calls, made = timed(name, contents, Path(folder))
        print(f"{len(contents):,} texts of {characters:.0f} characters, encoded: {first:.1f} s, {len(calls)} calls")
        again, calls_again, kept = timed(name, contents, Path(folder))
        print(f"unchanged: {again:.2f} s, {len(calls_again)} calls")
        contents[len(contents) // 2] = Content(text="a text that was not there before")
        changed, calls_changed, _ = timed(name, contents, Path(folder))
        print(f"one changed: {changed:.2f} s, texts of each call: {calls_changed}")
    print(f"load {os.getloadavg()[0]:.1f}")
    held = again < SECONDS and not calls_again and calls_changed == [1] and np.array_equal(made, kept)
    print("all bounds held" if held else "A BOUND WAS MISSED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
