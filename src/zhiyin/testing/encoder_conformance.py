"""What every encoder of texts must do, as checks to run over each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import signature

import numpy as np

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content, Encoder

TOLERANCE = 1e-5

TEXTS = (
    "Toy Story (1995). Animation, Children's, Comedy",
    "quiet science fiction about memory",
    "安静的、关于记忆的科幻",
    "Les Misérables: naïve, déjà vu",
    "シン・ゴジラ",
    "a",
)
ODD_TEXTS = (
    "🎬🍿",
    "!?",
    "\u200b",
    "\x00\x07",
    "e\u0301\u0301\u0301",
    "مرحبا",
    "<script>alert(1)</script>",
    "%s {0} \\",
)
ABSENT = (Content(), Content(text=""), Content(text=" \n\t"), Content(image="poster.png"))
LENGTH = 100_000


@dataclass(frozen=True, eq=False)
class EncoderCase:
    """An encoder under test, and how to make it anew."""

    make: Callable[[], Encoder]
    encoder: Encoder

    @classmethod
    def of(cls, make: Callable[[], Encoder]) -> "EncoderCase":
        return cls(make, make())

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        return self.encoder.encode([Content(text=text) for text in texts])


def registered_encoders(modality: str = "text") -> dict[str, Callable[[], Encoder]]:
    """The encoders of `modality` in the entry-point group "zhiyin.encoders" that need no argument, by name."""
    loaded = {point.name: point.load() for point in entry_points(group="zhiyin.encoders")}
    return {name: cls for name, cls in loaded.items() if modality in cls.modalities and _needs_nothing(cls)}


def check_vectors_have_unit_length(case: EncoderCase) -> None:
    """(n, dim) float32 of length 1."""
    _assert_unit(case, case.encode(TEXTS), len(TEXTS))


def check_absent_text_is_zero(case: EncoderCase) -> None:
    """No text, a blank one and other modalities make zero rows, alone and among others; nothing makes no row."""
    assert not case.encoder.encode(ABSENT).any()
    assert case.encoder.encode(ABSENT).shape == (len(ABSENT), case.encoder.dim)
    mixed = case.encoder.encode([ABSENT[0], Content(text=TEXTS[0]), ABSENT[2]])
    assert mixed.any(axis=1).tolist() == [False, True, False]
    assert case.encoder.encode([]).shape == (0, case.encoder.dim)


def check_batch_is_single(case: EncoderCase) -> None:
    """A text's vector does not depend on what else is encoded with it."""
    texts = (*TEXTS, *ODD_TEXTS, "memory and film " * 40)
    together = case.encode(texts)
    alone = np.concatenate([case.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE)
    np.testing.assert_allclose(case.encode(texts[::-1])[::-1], together, atol=TOLERANCE)


def check_encoding_is_deterministic(case: EncoderCase) -> None:
    """Again, and by another instance, the same numbers to the last bit."""
    first = case.encode(TEXTS)
    np.testing.assert_array_equal(case.encode(TEXTS), first)
    again = EncoderCase.of(case.make)
    np.testing.assert_array_equal(again.encode(TEXTS), first)


def check_fingerprint_is_stable(case: EncoderCase) -> None:
    """Known before anything is encoded, and the same for every instance."""
    fresh = case.make()
    assert fresh.fingerprint
    assert fresh.fingerprint == case.encoder.fingerprint
    case.encode(TEXTS[:1])
    assert case.encoder.fingerprint == fresh.fingerprint


def check_odd_texts_are_read(case: EncoderCase) -> None:
    """Symbols, control characters and other scripts have vectors like any text."""
    _assert_unit(case, case.encode(ODD_TEXTS), len(ODD_TEXTS))


def check_long_texts_are_read(case: EncoderCase) -> None:
    """Texts of 100,000 characters, in English, in Chinese and without a space."""
    texts = [("memory " * LENGTH)[:LENGTH], ("关于记忆" * LENGTH)[:LENGTH], "x" * LENGTH]
    _assert_unit(case, case.encode(texts), len(texts))


def check_texts_differ(case: EncoderCase) -> None:
    """A text is nearer to its own rewording than to another text."""
    base, near, far = case.encode(
        ["a film about a talking toy", "a movie about toys that talk", "shampoo against dandruff, 250 ml"]
    )
    assert base @ near > base @ far


CHECKS: tuple[Callable[[EncoderCase], None], ...] = (
    check_vectors_have_unit_length,
    check_absent_text_is_zero,
    check_batch_is_single,
    check_encoding_is_deterministic,
    check_fingerprint_is_stable,
    check_odd_texts_are_read,
    check_long_texts_are_read,
    check_texts_differ,
)


def _assert_unit(case: EncoderCase, vectors: FloatMatrix, n: int) -> None:
    assert vectors.shape == (n, case.encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=TOLERANCE)


def _needs_nothing(cls: Callable[..., Encoder]) -> bool:
    try:
        signature(cls).bind()
    except TypeError:
        return False
    return True
