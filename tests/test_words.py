"""Languages told by script, and items found by words, names and examples."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from zhiyin.app.words import Words, WordsRequest
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import InputError, NotFoundError
from zhiyin.core.models import Content
from zhiyin.retrieval.languages import CHINESE, OTHER, LanguageCentre, language_bias, language_of, languages_of
from zhiyin.retrieval.words import TitleTerms, blended, evened

TOPICS = (("space", "太空"), ("love", "爱情"), ("food", "美食"))


class ByTopic:
    """A bilingual encoder in small: one direction a topic, and one that says only which language it is."""

    name: ClassVar[str] = "by-topic"
    modalities = frozenset({"text"})
    dim = 4
    fingerprint = "by-topic"

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        rows = []
        for content in contents:
            text = content.text or ""
            row = [float(any(word in text.lower() for word in topic)) for topic in TOPICS]
            rows.append([*row, (1.0 if language_of(text) == CHINESE else -1.0) if text else 0.0])
        vectors = np.array(rows, np.float32).reshape(-1, 4)
        unit: FloatMatrix = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit


OTHERS = 240
"""Items about none of the topics, half in each language: a language is centred where it has items enough."""


@pytest.fixture
def words() -> Words:
    ids = ["orbit", "kiss", "noodles", "轨道", "情书", "面条", "blank"]
    return Words(
        Catalog.build(
            item_id=[*ids, *(f"other-{row}" for row in range(OTHERS))],
            title=[
                "Orbit",
                "A Kiss",
                "Space Noodles",
                "轨道",
                "情书",
                "面条",
                None,
                *(["Filler", "填充"] * (OTHERS // 2)),
            ],
            description=[
                "in space",
                "of love",
                "about food",
                "在太空里",
                "一段爱情",
                "街头美食",
                *([None] * (OTHERS + 1)),
            ],
            categories=[["film"], ["film"], ["clip"], ["film"], ["film"], ["clip"], *([[]] * (OTHERS + 1))],
        ),
        ByTopic(),
    )


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("安静的科幻", CHINESE),
        ("iPhone 手机壳真好看", CHINESE),
        ("Quiet films", OTHER),
        ("となりのトトロ", OTHER),
        ("", OTHER),
        (None, OTHER),
    ],
)
def test_chinese_is_told_by_its_script(text: str | None, language: str) -> None:
    assert language_of(text) == language


def test_centring_leaves_the_topic_and_takes_the_language() -> None:
    texts = [name for pair in TOPICS for name in pair] * 200
    languages = languages_of(texts)
    vectors = ByTopic().encode([Content(text=text) for text in texts])
    centred = LanguageCentre.of(vectors, languages).centred(vectors, languages)
    assert vectors[0] @ vectors[1] < vectors[0] @ vectors[2]
    assert centred[0] @ centred[1] > 0.9 > centred[0] @ centred[2]


def test_bias_is_the_share_of_the_same_language_beyond_the_pool() -> None:
    languages = np.array([CHINESE, CHINESE, OTHER, OTHER], dtype=object)
    asked = np.array([CHINESE, OTHER], dtype=object)
    assert language_bias(np.array([[0, 1], [2, 3]]), asked, languages) == pytest.approx(0.5)
    assert language_bias(np.array([[0, 2], [1, 3]]), asked, languages) == pytest.approx(0.0)


def test_evening_lifts_no_language_above_another() -> None:
    languages = np.array([CHINESE] * 200 + [OTHER] * 200, dtype=object)
    cosines = np.concatenate([np.linspace(0.5, 0.7, 200), np.linspace(-0.1, 0.1, 200)])
    level = evened(cosines, languages, np.ones(400, np.bool_))
    assert level[:200] == pytest.approx(level[200:])


@pytest.mark.parametrize("text", ["space travel", "太空旅行"])
def test_words_find_items_of_both_languages(words: Words, text: str) -> None:
    found = words.find(WordsRequest(text, n=2), now=0).rows[0]
    assert set(found) == {0, 3}


def test_of_items_that_mean_the_same_the_one_that_is_named_comes_first(words: Words) -> None:
    assert words.find(WordsRequest("orbit space"), now=0).rows[0, 0] == 0


def test_examples_lead_and_are_not_shown_again(words: Words) -> None:
    found = words.find(WordsRequest(like=["orbit"], unlike=["kiss"]), now=0).rows[0]
    assert found[0] == 3
    assert not {0, 1} & set(found)


def test_filters_and_what_was_seen_hold(words: Words) -> None:
    found = words.find(WordsRequest("love", categories=["film"], n=7), now=0, seen=np.array([1])).rows[0]
    assert set(found) == {0, 3, 4, -1}


def test_an_item_without_words_comes_last(words: Words) -> None:
    assert words.find(WordsRequest("love", n=OTHERS + 7), now=0).rows[0, -1] == 6


def test_the_users_own_scores_decide_as_far_as_their_weight(words: Words) -> None:
    personal = np.zeros(OTHERS + 7)
    personal[[2, 3]] = 9, 1
    alone = words.find(WordsRequest("space", weight=0), now=0, personal=personal).rows[0]
    theirs = words.find(WordsRequest("space", weight=1), now=0, personal=personal).rows[0]
    assert alone[0] in (0, 3)
    assert theirs[:2].tolist() == [2, 3]
    with pytest.raises(InputError, match="between 0 and 1"):
        blended(personal, personal, 2.0, np.ones(len(personal), np.bool_))


def test_refusals_name_what_is_wrong(words: Words) -> None:
    with pytest.raises(InputError, match="nothing is asked for"):
        words.find(WordsRequest("  "), now=0)
    with pytest.raises(NotFoundError, match="'nowhere'"):
        words.find(WordsRequest(like=["nowhere"]), now=0)


def test_title_terms_share_is_highest_for_the_title_itself() -> None:
    shares = TitleTerms(["The Sea", "Sea of Love", "大海", None]).shares("the sea")
    assert shares.argmax() == 0
    assert shares[2:].tolist() == [0, 0]
    assert TitleTerms(["大海", "海上钢琴师"]).shares("海上钢琴师").argmax() == 1


def test_no_query_shares_a_word_with_a_title_it_is_judged_by() -> None:
    benchmark = _benchmark()
    assert benchmark.shared_words("adorable kittens", "A Kitten") == {"kitten"}
    assert benchmark.shared_words("忠诚的狗", "我家狗狗") == {"狗"}
    assert not benchmark.shared_words("quiet science fiction about memory", "Dark City (1998)")
    queries = benchmark.judged(benchmark.JUDGEMENTS / "words.json")
    assert sorted(query.language for query in queries) == ["en"] * 15 + ["zh"] * 15
    assert all(len(query.relevant) >= 3 for query in queries)
    titles = benchmark.parallel(benchmark.JUDGEMENTS / "parallel_titles.json")
    films = {f"ml-1m:{row}": title for row, title in _film_titles()}
    assert len(titles) >= 60
    for query in queries:
        for item in query.relevant & films.keys():
            assert not benchmark.shared_words(query.text, films[item])


def _film_titles() -> list[tuple[str, str]]:

    path = _benchmark().JUDGEMENTS / "parallel_titles.json"
    return [(row["id"], row["en"]) for row in json.loads(path.read_text("utf-8"))]


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "words_benchmark", Path(__file__).parents[1] / "benchmarks" / "words.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
