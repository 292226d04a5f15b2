"""Recommendations by words alone, in Chinese and English, over items of both languages mixed.

    python benchmarks/words.py --data DIR [--encoder NAME] [--cache DIR] [--judgements FILE.json]

DIR holds ml-1m, kuairec-captions-zh and amazon2014-beauty; all of their 26,245 items are in one pool. The folder
judgements holds 30 queries with the items relevant to each, which share no content word with their titles (checked
first), and films with their customary Chinese titles, those apart whose Chinese title is no translation. Both were
written before an encoder was asked. Settings were chosen on judgements/words_validation.json, whose items are picked
by rule rather than read; --judgements judges any such file, and then no bound applies. --cache keeps item vectors
between runs.

It ends with status 1 unless at least 22 of the 30 queries have a relevant item among the first 5, at least 0.8 of the
translated titles find their counterpart among the first 5 titles of the other language, each way, and results are of
the query's own language no more than 10 points oftener or more rarely than the pool.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from zhiyin.app.registry import make_encoder
from zhiyin.app.words import Words, WordsRequest
from zhiyin.core.arrays import FloatMatrix, IntMatrix, TextVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.models import Content, Encoder
from zhiyin.retrieval.languages import CHINESE, OTHER, language_bias, languages_of
from zhiyin.retrieval.topn import top_n
from zhiyin.retrieval.words import evened

JUDGEMENTS = Path(__file__).parent / "judgements"
PLACES = 5
NEEDED = 22
CROSS_BOUND = 0.8
BIAS_BOUND = 0.1
MIXED_PLACES = 10

_FUNCTION_WORDS = frozenset(
    re.findall("[a-z]+", "a about an and at by come for i in of on one or that the to want with something")
)
_FUNCTION_CHARACTERS = re.compile("[的和了在与被不到我一怎么太多上关于]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]+")
_LATIN = re.compile("[a-z0-9]+")
_ENDINGS = ("ing", "ers", "er", "ed", "es", "s")


@dataclass(frozen=True)
class Judged:
    """relevant: ids of the pool."""

    name: str
    language: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Parallel:
    en: str
    zh: str
    translated: bool


def pool(data: Path) -> Catalog:
    """All items, their ids led by the data set; a caption is a title, what a video's cover says its description."""
    films = pl.read_parquet(data / "ml-1m" / "items.parquet").select("movieId", "title", "genres", "plot").rows()
    videos = pl.read_parquet(data / "kuairec-captions-zh" / "captions.parquet").rows(named=True)
    goods = pl.read_parquet(data / "amazon2014-beauty" / "items.parquet").select("asin", "title").rows()
    levels = [f"{level}_level_category_name" for level in ("first", "second", "third")]
    return Catalog.build(
        item_id=[f"ml-1m:{row[0]}" for row in films]
        + [f"kuairec-captions-zh:{row['video_id']}" for row in videos]
        + [f"amazon2014-beauty:{row[0]}" for row in goods],
        title=[row[1] for row in films] + [row["caption"] for row in videos] + [row[1] for row in goods],
        categories=[row[2].split("|") for row in films]
        + [[row[level] for level in levels if row[level] != "UNKNOWN"] for row in videos]
        + [() for _ in goods],
        description=[row[3] for row in films]
        + [None if row["manual_cover_text"] == "UNKNOWN" else row["manual_cover_text"] for row in videos]
        + [None for _ in goods],
    )


def judged(path: Path) -> list[Judged]:
    return [
        Judged(
            query["id"],
            query["language"],
            query["text"],
            frozenset(f"{dataset}:{item}" for dataset, items in query["relevant"].items() for item in items),
        )
        for query in json.loads(path.read_text("utf-8"))
    ]


def parallel(path: Path) -> list[Parallel]:
    return [Parallel(row["en"], row["zh"], row["translated"]) for row in json.loads(path.read_text("utf-8"))]


def shared_words(query: str, title: str) -> set[str]:
    """Content words of `query` that occur in `title`: Latin words up to their endings; of Chinese every two characters
    that stand together, and a character on its own between function words."""
    folded = _folded(title)
    held = {_stem(word) for word in _LATIN.findall(folded)}
    return {word for word in content_words(query) if (word in held if word.isascii() else word in folded)}


def content_words(query: str) -> set[str]:
    folded = _folded(query)
    words = {_stem(word) for word in _LATIN.findall(folded) if word not in _FUNCTION_WORDS}
    for run in _HAN.findall(_FUNCTION_CHARACTERS.sub(" ", folded)):
        words |= {run} if len(run) == 1 else {"".join(pair) for pair in pairwise(run)}
    return words


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def breaches(queries: Sequence[Judged], catalog: Catalog) -> list[str]:
    """Relevant items whose title, or what stands on their cover, holds a word of the query."""
    words = {
        item: " ".join(filter(None, (title, cover if item.startswith("kuairec") else None)))
        for item, title, cover in zip(catalog.item_id, catalog.title, catalog.description, strict=True)
    }
    return [
        f"{query.name}: {item} holds {', '.join(sorted(shared))}"
        for query in queries
        for item in sorted(query.relevant)
        if (shared := shared_words(query.text, words[item]))
    ]


def first_ranks(queries: Sequence[Judged], words: Words, catalog: Catalog) -> list[int]:
    """The place of each query's first relevant item, as the product would list them."""
    ranks = []
    for query in queries:
        rows = words.find(WordsRequest(query.text, n=len(catalog)), now=0).rows[0]
        ranks.append(next(place for place, row in enumerate(rows, 1) if catalog.item_id[row] in query.relevant))
    return ranks


def cross_language(asked: FloatMatrix, titles: FloatMatrix, counted: Sequence[int]) -> float:
    """R@5 of `counted`: title `i` of one language is to find title `i` of the other among all of them."""
    found = top_n(asked @ titles.T, PLACES).rows
    return float(np.mean([row in found[row] for row in counted]))


def mixed_titles(vectors: FloatMatrix, languages: TextVector | None = None) -> IntMatrix:
    """What each title of either language finds among the titles of both, itself left out; evened where `languages`
    are given, as a search does."""
    others = ~np.eye(len(vectors), dtype=np.bool_)
    cosines = vectors @ vectors.T
    if languages is not None:
        pairs = zip(cosines, others, strict=True)
        cosines = np.stack([evened(line, languages, counted) for line, counted in pairs])
    return top_n(cosines, MIXED_PLACES, others).rows


def encoded(encoder: Encoder, texts: Sequence[str]) -> FloatMatrix:
    return encoder.encode([Content(text=text) for text in texts])


def title_figures(titles: Sequence[Parallel], words: Words, encoder: Encoder) -> Mapping[str, float]:
    """Each figure of vectors as the encoder gives them ("raw") and as they are searched ("centred")."""
    raw = encoded(encoder, [*(t.en for t in titles), *(t.zh for t in titles)])
    # A title in Latin letters of a film whose Chinese name is all Latin would be told wrongly; here the file says it.
    languages = np.array([OTHER] * len(titles) + [CHINESE] * len(titles), dtype=object)
    translated = [row for row, title in enumerate(titles) if title.translated]
    everything = list(range(len(titles)))
    figures: dict[str, float] = {}
    for name, vectors in (("raw", raw), ("centred", words.index.placed(raw, languages))):
        english, chinese = vectors[: len(titles)], vectors[len(titles) :]
        figures[f"{name} en>zh"] = cross_language(english, chinese, translated)
        figures[f"{name} zh>en"] = cross_language(chinese, english, translated)
        figures[f"{name} en>zh, all titles"] = cross_language(english, chinese, everything)
        figures[f"{name} zh>en, all titles"] = cross_language(chinese, english, everything)
        figures[f"{name} bias among titles"] = language_bias(mixed_titles(vectors), languages, languages)
    figures["evened bias among titles"] = language_bias(mixed_titles(vectors, languages), languages, languages)
    return figures


def pool_bias(titles: Sequence[Parallel], words: Words) -> tuple[float, Mapping[str, float]]:
    """Bias over the whole pool of the translated titles asked in both languages, and the shares behind it."""
    texts = [title.en for title in titles if title.translated] + [title.zh for title in titles if title.translated]
    asked: TextVector = languages_of(texts)
    found = np.concatenate([words.find(WordsRequest(text, n=MIXED_PLACES), now=0).rows for text in texts])
    chinese = words.index.languages == CHINESE
    shares = {"pool": float(chinese.mean())}
    for language in (CHINESE, OTHER):
        shares[language] = float(chinese[found[asked == language]].mean())
    return language_bias(found, asked, words.index.languages), shares


def show(queries: Sequence[Judged], ranks: Sequence[int]) -> None:
    for query, rank in zip(queries, ranks, strict=True):
        print(f"  {'found ' if rank <= PLACES else 'missed'} {rank:6}  {query.text}  ({len(query.relevant)} relevant)")
    found = [rank <= PLACES for rank in ranks]
    by_language = {
        language: sum(hit for hit, query in zip(found, queries, strict=True) if query.language == language)
        for language in dict.fromkeys(query.language for query in queries)
    }
    parts = ", ".join(f"{language} {count}" for language, count in by_language.items())
    print(f"a relevant item among the first {PLACES}: {sum(found)} of {len(queries)} ({parts})")
    print(f"mean reciprocal rank {np.mean([1 / rank for rank in ranks]):.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", default="use-multilingual")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--judgements", type=Path, default=JUDGEMENTS / "words.json")
    options = parser.parse_args()
    began = time.perf_counter()
    catalog, queries = pool(options.data), judged(options.judgements)
    bounded = options.judgements == JUDGEMENTS / "words.json"
    missed = breaches(queries, catalog)
    encoder = make_encoder(options.encoder)
    with tempfile.TemporaryDirectory() as scratch:
        words = Words(catalog, encoder, options.cache or Path(scratch))
    print(f"{options.encoder}: {len(catalog):,} items, {time.perf_counter() - began:.0f} s to read them")
    ranks = first_ranks(queries, words, catalog)
    show(queries, ranks)
    if bounded:
        hits = sum(rank <= PLACES for rank in ranks)
        if hits < NEEDED:
            missed.append(f"{hits} of {len(queries)} queries, {NEEDED} are needed")
        missed += title_misses(parallel(JUDGEMENTS / "parallel_titles.json"), words, encoder)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{time.perf_counter() - began:.0f} s, load average {load}")
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def title_misses(titles: Sequence[Parallel], words: Words, encoder: Encoder) -> list[str]:
    """Prints what parallel titles show, and says which bounds they miss."""
    figures = title_figures(titles, words, encoder)
    bias, shares = pool_bias(titles, words)
    translated = sum(title.translated for title in titles)
    print(f"\n{len(titles)} parallel titles, {translated} of them translated; R@{PLACES}, and bias of {MIXED_PLACES}")
    for name, value in figures.items():
        print(f"  {name:32} {value:+.3f}")
    print(f"  {'bias in the pool':32} {bias:+.3f}")
    print("  Chinese items: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))
    ways = [f"centred {way}" for way in ("en>zh", "zh>en")]
    missed = [f"{way}: {figures[way]:.3f}, {CROSS_BOUND} is needed" for way in ways if figures[way] < CROSS_BOUND]
    biases = {"among titles": figures["evened bias among titles"], "in the pool": bias}
    return missed + [f"bias {name} {value:+.3f}" for name, value in biases.items() if abs(value) > BIAS_BOUND]


if __name__ == "__main__":
    sys.exit(main())
