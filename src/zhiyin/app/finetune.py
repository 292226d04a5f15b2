"""Use case: a text encoder that has learned from a store what its people take together."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.selection import VALIDATION_START
from zhiyin.core.arrays import IntMatrix
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.models import Progress, Silent
from zhiyin.dataset.pairs import following_pairs
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import leave_one_out_split, time_split
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


def finetune(request: FineTuneRequest) -> FineTuned:
    """Learns from events that no comparison of models asks about: a figure of the new encoder stays honest.

    Those are the ones before the time of validation, without the last two of each user. Raises `ConfigError` for an
    encoder that cannot be fine-tuned, and `InputError` where there is too little to learn from.
    """
    kind, _, argument = request.encoder.partition(":")
    if kind != SentenceTransformers.name or not argument:
        raise ConfigError(
            f"{request.encoder!r} cannot be fine-tuned; name a text model as {SentenceTransformers.name}:FOLDER"
        )
    data = unasked(prepare_dataset(request.store, request.preparation.model_copy(update={"encoders": ()})))
    texts, pairs = lesson(data)
    settings = FineTuning(epochs=request.epochs, pairs=request.pairs, seed=request.seed)
    return fine_tune(argument, texts, pairs, request.out, settings=settings, progress=request.progress)


def unasked(data: Dataset) -> Dataset:
    """What is left for an encoder to learn from where models are compared by time or by leave-one-out."""
    left = data
    with suppress(InputError):
        left = leave_one_out_split(data, "validation").train
    with suppress(InputError):
        cut = time_split(data, VALIDATION_START).train.now
        left = replace(left, histories=left.histories.keep(left.histories.timestamps < cut))
    return left


def lesson(data: Dataset) -> tuple[Sequence[str], IntMatrix]:
    """Different texts of items, and pairs (n, 2) of rows of them that people took one after the other."""
    texts, row = np.unique(np.array([text or "" for text in data.catalog.texts()], object), return_inverse=True)
    pairs = row[following_pairs(data.histories)]
    told = np.array([bool(text.strip()) for text in texts], np.bool_)
    return texts.tolist(), pairs[told[pairs].all(axis=1)]
