"""Text encoders that learn what people take together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizer
from typer.testing import CliRunner

from zhiyin.app.finetune import FineTuneRequest, finetune, lesson
from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_encoder
from zhiyin.cli import application
from zhiyin.core.arrays import IntMatrix
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.models import Content, Silent
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import never_asked
from zhiyin.encoders.finetuning import NOTE, FineTuning, batches, fine_tune

GROUPS, WORDS = 4, 6
TITLES = [f"w{group}{one} w{group}{two}" for group in range(GROUPS) for one in range(WORDS) for two in range(WORDS)]
GROUP = np.arange(len(TITLES)) // WORDS**2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing, in which words of one group are as far from each other as from any."""
    folder = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in TITLES for word in text.split()})]
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
    ).save_pretrained(folder / "bert")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    reader = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[reader, Pooling(reader.get_embedding_dimension())]).save_pretrained(
        str(folder / "whole"), create_model_card=False
    )
    return folder / "whole"


def together(n: int, seed: int = 0) -> IntMatrix:
    """Pairs of titles of one group."""
    generator = np.random.default_rng(seed)
    first = generator.integers(0, len(TITLES), n)
    return np.stack([first, GROUP[first] * WORDS**2 + generator.integers(0, WORDS**2, n)], axis=1)


def nearness(encoder: str) -> float:
    """How much nearer titles of one group are than titles of two."""
    vectors = make_encoder(encoder).encode([Content(text=title) for title in TITLES])
    alike = GROUP[:, None] == GROUP
    found = vectors @ vectors.T
    return float(found[alike].mean() - found[~alike].mean())


def test_what_goes_together_comes_nearer(small: Path, tmp_path: Path) -> None:
    settings = FineTuning(epochs=4, pairs=1_500, rank=8, learning_rate=0.01, batch=32)
    told = fine_tune(str(small), TITLES, together(2_000), tmp_path / "out", settings=settings, progress=Silent())
    assert told.after > told.before
    assert told.epoch >= 1
    assert nearness(f"sentence-transformers:{tmp_path / 'out'}") > 0.2 + nearness(f"sentence-transformers:{small}")
    note = json.loads((tmp_path / "out" / NOTE).read_text("utf-8"))
    assert (note["after"], note["settings"]["learning_rate"]) == (told.after, 0.01)
    encoders = [make_encoder(f"sentence-transformers:{folder}") for folder in (small, tmp_path / "out")]
    assert encoders[0].fingerprint != encoders[1].fingerprint
    assert encoders[0].dim == encoders[1].dim


def test_what_is_no_better_is_not_saved(small: Path, tmp_path: Path) -> None:
    pairs = np.random.default_rng(0).integers(0, len(TITLES), (2_000, 2))
    settings = FineTuning(epochs=1, pairs=32, learning_rate=1e-12, batch=16)
    told = fine_tune(str(small), TITLES, pairs, tmp_path / "out", settings=settings, progress=Silent())
    assert (told.epoch, told.after) == (0, told.before)
    assert list(tmp_path.iterdir()) == []


@given(hnp.arrays(np.int64, st.tuples(st.integers(0, 40), st.just(2)), elements=st.integers(0, 20)), st.integers(2, 9))
def test_no_text_stands_twice_in_a_batch(pairs: IntMatrix, size: int) -> None:
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    left = pairs.tolist()
    for batch in batches(pairs, size):
        assert 1 < len(batch) <= size
        assert len(np.unique(batch)) == 2 * len(batch)
        for pair in batch.tolist():
            left.remove(pair)


def shop(folder: Path, users: int = 60, events: int = 12) -> str:
    """A store in which each user keeps to a group of titles."""
    generator = np.random.default_rng(0)
    lines = [
        f"u{user},i{(user % GROUPS) * WORDS**2 + generator.integers(0, WORDS**2)},{1_700_000_000 + 1_000 * step + user}"
        for step in range(events)
        for user in range(users)
    ]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines), "utf-8")
    titles = [f"i{item},{title}" for item, title in enumerate(TITLES)]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(titles), "utf-8")
    store = f"sqlite:///{folder / 'events.db'}"
    refused = folder / "refused.csv"
    ingest(IngestRequest(events=[folder / "events.csv"], store=store, catalogue=folder / "items.csv", refused=refused))
    return store


def test_nothing_is_learned_from_what_comparisons_ask_about(tmp_path: Path) -> None:
    data = prepare_dataset(shop(tmp_path), PreparationSettings(encoders=()))
    left = never_asked(data, 0.8).histories
    assert left.timestamps.max() < np.quantile(data.histories.timestamps, 0.8)
    ends = data.histories.lengths
    assert (left.lengths <= ends - 2).all()
    texts, pairs = lesson(never_asked(data, 0.8))
    groups = np.array([int(text[1]) for text in texts])
    assert len(pairs) > 0
    np.testing.assert_array_equal(groups[pairs[:, 0]], groups[pairs[:, 1]])


def test_a_shop_fine_tunes_on_the_command_line(small: Path, tmp_path: Path) -> None:
    store, out = shop(tmp_path, users=120), tmp_path / "tuned"
    words: list[Any] = ["finetune", "--store", store, "--encoder", f"sentence-transformers:{small}", "--out", out]
    told = CliRunner().invoke(application, [*map(str, words), "--epochs", "2", "--json"])
    report = json.loads(told.stdout)
    assert told.exit_code == (0 if report["epoch"] else 1)
    assert out.is_dir() == bool(report["epoch"])


@pytest.mark.parametrize("encoder", ["use-multilingual", "hashed-ngrams", "sentence-transformers"])
def test_other_encoders_are_refused(encoder: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a text model as sentence-transformers:FOLDER"):
        finetune(FineTuneRequest(shop(tmp_path), encoder, tmp_path / "out"))


def test_a_training_that_diverges_is_not_saved(small: Path, tmp_path: Path) -> None:
    settings = FineTuning(epochs=1, pairs=200, learning_rate=1e30)
    told = fine_tune(str(small), TITLES, together(2_000), tmp_path / "out", settings=settings, progress=Silent())
    assert (told.epoch, told.after) == (0, told.before)
    assert not (tmp_path / "out").exists()


def test_too_little_is_told_and_a_folder_is_not_overwritten(small: Path, tmp_path: Path) -> None:
    settings = FineTuning()
    with pytest.raises(InputError, match="at least 50 of each are needed"):
        fine_tune(str(small), TITLES, together(30), tmp_path / "out", settings=settings, progress=Silent())
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        fine_tune(str(small), TITLES, together(2_000), tmp_path / "out", settings=settings, progress=Silent())
