"""Use case: a text encoder that has learned from a store what its people take together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.selection import VALIDATION_START
from zhiyin.core.arrays import IntMatrix
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Progress, Silent
from zhiyin.dataset.pairs import following_pairs
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import never_asked
from zhiyin.encoders.finetuning import FineTuned, FineTuning, fine_tune
from zhiyin.encoders.sentence_transformers import SentenceTransformers


@dataclass(frozen=True)
class FineTuneRequest:
    """encoder: sentence-transformers:MODEL. out: the folder of the new model, for `sentence-transformers:OUT`.

    epochs: at most. pairs: learned from in each. preparation: its encoders are not read.
    """

    store: str
    encoder: str
    out: Path
    epochs: int = FineTuning.epochs
    pairs: int = FineTuning.pairs
    seed: int = 0
    preparation: PreparationSettings = field(default_factory=PreparationSettings)
    progress: Progress = field(default_factory=Silent)
    tenant: str = "default"


def finetune(request: FineTuneRequest) -> FineTuned:
    """Learns from events that comparisons by time or by leave-one-out ask nothing about, where their data is prepared
    alike: figures of the new encoder stay honest. A blend weighs its parts on some of them, and may lean on content.

    Raises `ConfigError` for an encoder that cannot be fine-tuned, and `InputError` where there is too little to learn
    from.
    """
    kind, _, argument = request.encoder.partition(":")
    if kind != SentenceTransformers.name or not argument:
        raise ConfigError(
            f"{request.encoder!r} cannot be fine-tuned; name a text model as {SentenceTransformers.name}:FOLDER"
        )
    preparation = request.preparation.model_copy(update={"encoders": ()})
    data = never_asked(prepare_dataset(request.store, preparation, tenant=request.tenant), VALIDATION_START)
    texts, pairs = lesson(data)
    settings = FineTuning(epochs=request.epochs, pairs=request.pairs, seed=request.seed)
    return fine_tune(argument, texts, pairs, request.out, settings=settings, progress=request.progress)


def lesson(data: Dataset) -> tuple[Sequence[str], IntMatrix]:
    """Different texts of items, and pairs (n, 2) of rows of them that people took one after the other."""
    texts, row = np.unique(np.array([text or "" for text in data.catalog.texts()], object), return_inverse=True)
    pairs = row[following_pairs(data.histories)]
    told = np.array([bool(text.strip()) for text in texts], np.bool_)
    return texts.tolist(), pairs[told[pairs].all(axis=1)]
