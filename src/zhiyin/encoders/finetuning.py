"""A text model taught by what people take one after the other.

Of the texts of a batch the right one has to be found, both ways (InfoNCE; van den Oord et al., 2018). Nothing but
adapters of low rank is trained (LoRA; Hu et al., 2021); they are added into the weights in the end, so that what is
saved is a model like any other. A tenth of the texts is held out: how well those are found, which stand for items to
come, tells when to stop and whether anything was gained.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from zhiyin.core.arrays import FloatMatrix, IntMatrix, IntVector
from zhiyin.core.errors import ConfigError, InputError
from zhiyin.core.models import Progress
from zhiyin.encoders.sentence_transformers import BATCH, SentenceTransformers, loaded

HELD_OUT = 0.1
ASKED = 2_000
"""Held-out pairs that are looked for at most."""

LEAST = 50
"""Pairs to learn from, and pairs held out, without which nothing is tried."""

TOKENS = 32
"""Read of a text while learning and judging: a long title. Time goes with it."""

WARM_UP = 0.1
NOTE = "finetuning.json"


@dataclass(frozen=True)
class FineTuning:
    """rank: of the adapters. pairs: learned from in an epoch, drawn anew for each. batch: pairs, each one's text
    being among the wrong ones of all others.
    """

    epochs: int = 3
    pairs: int = 10_000
    rank: int = 16
    learning_rate: float = 5e-4
    batch: int = 64
    seed: int = 0


@dataclass(frozen=True)
class FineTuned:
    """texts, pairs: to learn from; each epoch draws some of these.

    before, after: mean reciprocal rank of held-out texts among all of these; after is that of the best epoch, on the
    texts that tell which is best. epoch: the best one; 0, and nothing is saved, where none was better than before.
    """

    texts: int
    pairs: int
    before: float
    after: float
    epoch: int


def fine_tune(
    argument: str, texts: Sequence[str], pairs: IntMatrix, out: Path, *, settings: FineTuning, progress: Progress
) -> FineTuned:
    """Teaches the model `argument`, as `SentenceTransformers` reads it, and writes the folder `out` if it got better.

    pairs: (n, 2) rows of `texts`. Raises `ConfigError` without the extra `finetune` and for a model that cannot be
    loaded or adapted, `InputError` where `out` is taken or there are too few pairs.
    """
    if find_spec("peft") is None:
        raise ConfigError("fine-tuning needs the extra `finetune`: pip install 'zhiyin[finetune]'")
    _claim(out)
    generator = np.random.default_rng(settings.seed)
    known, held = _divided(pairs, generator)
    folder = SentenceTransformers(argument).folder
    pupil = _Pupil(loaded(folder), texts, settings)
    before = best = pupil.found(held)
    weights, epoch = pupil.weights(), 0
    for place in range(1, settings.epochs + 1):
        lesson = known[generator.permutation(len(known))[: settings.pairs]]
        loss = pupil.learn(lesson, progress)
        figure = pupil.found(held)
        progress.epoch(place, settings.epochs, {"loss": loss, "validation": figure})
        if figure <= best:
            break
        weights, epoch, best = pupil.weights(), place, figure
    told = FineTuned(len(np.unique(known)), len(known), before, best, epoch)
    if epoch:
        pupil.save(out, weights, {"from": folder.revision, "settings": asdict(settings), **asdict(told)})
    return told


def _claim(out: Path) -> None:
    """Raises `InputError` where `out` cannot become a new folder that encoders can be named by."""
    if out.exists():
        raise InputError(f"{out}: is there already; name a new folder, or take it away")
    if "@" in out.name:
        raise InputError(f"{out}: what stands behind an @ names a device; name the folder without one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); name another folder") from error


def _divided(pairs: IntMatrix, generator: np.random.Generator) -> tuple[IntMatrix, IntMatrix]:
    """Pairs of texts that are not held out, and at most `ASKED` that lead from one of those to one that is."""
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    named = np.unique(pairs)
    held = np.isin(pairs, named[generator.random(len(named)) < HELD_OUT])
    known, asked = pairs[~held.any(axis=1)], pairs[~held[:, 0] & held[:, 1]]
    if min(len(known), len(asked)) < LEAST:
        raise InputError(
            f"{len(known):,} pairs of items that follow one another to learn from and {len(asked):,} to judge by are "
            f"too few: at least {LEAST} of each are needed, of items with different texts"
        )
    return known, asked[generator.permutation(len(asked))[:ASKED]]


def batches(pairs: IntMatrix, size: int) -> Iterator[IntMatrix]:
    """(size, 2) each, in which no text stands twice: it would be right for one pair and wrong for another.

    The last one, where fewer are left, is as long as it gets; a single pair, which nothing is wrong for, is left out.
    """
    waiting = pairs.tolist()
    while waiting:
        batch: list[list[int]] = []
        later: list[list[int]] = []
        met: set[int] = set()
        for place, pair in enumerate(waiting):
            if len(batch) == size:
                later += waiting[place:]
                break
            fits = met.isdisjoint(pair)
            (batch if fits else later).append(pair)
            met.update(pair if fits else ())
        waiting = later
        if len(batch) > 1:
            yield np.array(batch, np.int64)


class _Pupil:
    """The model with adapters, and how it is taught."""

    def __init__(self, model: Any, texts: Sequence[str], settings: FineTuning) -> None:
        import torch  # noqa: PLC0415  nothing else of the command line waits for these
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415
        from sentence_transformers.sentence_transformer.losses import (  # noqa: PLC0415
            MultipleNegativesRankingLoss,
        )

        self._model, self._texts, self._settings = model, texts, settings
        torch.manual_seed(settings.seed)
        adapters = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear")
        try:
            with warnings.catch_warnings():
                # peft asks transformers for what it renames; whoever fine-tunes can do nothing about it.
                warnings.simplefilter("ignore", FutureWarning)
                self._adapted = get_peft_model(model[0].model, adapters)
        except (AttributeError, ValueError) as error:
            raise ConfigError(f"this model takes no adapters of low rank ({error}); fine-tune another") from error
        model[0].model = self._adapted
        self._length, model.max_seq_length = model.max_seq_length, min(TOKENS, model.max_seq_length or TOKENS)
        self._loss = MultipleNegativesRankingLoss(
            model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        )
        trained = [each for each in self._adapted.parameters() if each.requires_grad]
        self._optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate)
        self._taught = 0

    def learn(self, pairs: IntMatrix, progress: Progress) -> float:
        """The mean loss of an epoch. How fast it learns rises first, and falls to nothing by the last epoch."""
        import torch  # noqa: PLC0415

        self._model.train()
        whole = self._settings.epochs * len(pairs)
        losses: list[float] = []
        for batch in batches(pairs, self._settings.batch):
            features = [self._read(side) for side in batch.T]
            loss = self._loss(features, torch.empty(0))
            part = (self._taught + len(batch)) / whole
            for group in self._optimiser.param_groups:
                group["lr"] = self._settings.learning_rate * min(part / WARM_UP, max(0.0, 1 - part), 1.0)
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            losses.append(float(loss.detach()))
            self._taught += len(batch)
            progress.batch(len(losses), -(-len(pairs) // self._settings.batch), losses[-1])
        if not losses:
            raise InputError("no two pairs of items have four different texts: there is nothing to tell apart")
        return float(np.mean(losses))

    def found(self, pairs: IntMatrix) -> float:
        """Mean reciprocal rank of the second texts of `pairs` among all of these, by nearness to the first."""
        self._model.eval()
        asked, right = pairs.T
        candidates, place = np.unique(right, return_inverse=True)
        sources, source = np.unique(asked, return_inverse=True)
        nearness = self._vectors(sources) @ self._vectors(candidates).T
        shown = nearness[source]
        mine = shown[np.arange(len(pairs)), place]
        # Numbers that are none, as a training that diverged leaves, rank last.
        return float(np.mean(1.0 / (~(shown < mine[:, None])).sum(axis=1)))

    def weights(self) -> dict[str, Any]:
        """Of the adapters alone."""
        return {
            name: parameter.detach().clone()
            for name, parameter in self._adapted.named_parameters()
            if parameter.requires_grad
        }

    def save(self, out: Path, weights: dict[str, Any], note: dict[str, Any]) -> None:
        """The folder is whole when it has its name."""
        self._adapted.load_state_dict(weights, strict=False)
        self._model[0].model = self._adapted.merge_and_unload()
        self._model.max_seq_length = self._length
        half = out.with_name(f".{out.name}.partial")
        shutil.rmtree(half, ignore_errors=True)
        self._model.save_pretrained(str(half), create_model_card=False)
        (half / NOTE).write_text(json.dumps(note, indent=1), "utf-8")
        half.rename(out)

    def _read(self, rows: IntVector) -> dict[str, Any]:
        prompt = self._model.prompts.get(self._model.default_prompt_name)
        features = self._model.preprocess([self._texts[row] for row in rows.tolist()], prompt=prompt)
        device = self._model.device
        return {name: value.to(device) if hasattr(value, "to") else value for name, value in features.items()}

    def _vectors(self, rows: IntVector) -> FloatMatrix:
        vectors: FloatMatrix = self._model.encode(
            [self._texts[row] for row in rows.tolist()],
            batch_size=BATCH,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return vectors
