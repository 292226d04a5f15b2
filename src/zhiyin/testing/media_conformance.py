"""What every encoder of images or of sounds must do, as checks to run over each of them."""

import base64
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content, Encoder

TOLERANCE = 1e-5
SIDE = 256
RATE = 22_050

Modality = Literal["image", "audio"]


@dataclass(frozen=True, eq=False)
class MediaCase:
    """An encoder under test, how to make it anew, and files of what it reads.

    altered: each of `originals` as another would have taken it: cropped and lighter, or fainter and with noise.
    unreadable: places where nothing can be read.
    """

    make: Callable[[], Encoder]
    encoder: Encoder
    modality: Modality
    originals: Sequence[str]
    altered: Sequence[str]
    unreadable: Sequence[str]

    @classmethod
    def of(cls, make: Callable[[], Encoder], modality: Modality, folder: Path) -> "MediaCase":
        """folder: an empty one, to which the files are written."""
        originals, altered = (_pictures if modality == "image" else _sounds)(folder)
        return cls(make, make(), modality, originals, altered, _unreadable(folder))

    def encode(self, places: Sequence[str | None]) -> FloatMatrix:
        return self.encoder.encode([self.content(place) for place in places])

    def content(self, place: str | None) -> Content:
        return Content(image=place) if self.modality == "image" else Content(audio=place)


def check_vectors_have_unit_length(case: MediaCase) -> None:
    """(n, dim) float32 of length 1."""
    vectors = case.encode(case.originals)
    assert vectors.shape == (len(case.originals), case.encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=TOLERANCE)


def check_absent_media_is_zero(case: MediaCase) -> None:
    """No place, a blank one and other modalities make zero rows, alone and among others; nothing makes no row."""
    other = Content(text="a", audio=case.originals[0]) if case.modality == "image" else Content(image="poster.png")
    absent = [Content(), case.content(""), case.content(" \n"), other]
    assert not case.encoder.encode(absent).any()
    assert case.encoder.encode(absent).shape == (len(absent), case.encoder.dim)
    assert case.encode([None, case.originals[0], ""]).any(axis=1).tolist() == [False, True, False]
    assert case.encoder.encode([]).shape == (0, case.encoder.dim)


def check_unreadable_media_is_zero(case: MediaCase) -> None:
    """What is missing, broken, an address or something else has a zero row, and the others are as without it."""
    assert not case.encode(case.unreadable).any()
    rows = [place for pair in zip(case.unreadable, case.originals, strict=False) for place in pair]
    np.testing.assert_allclose(case.encode(rows)[1::2], case.encode(rows[1::2]), atol=TOLERANCE)


def check_batch_is_single(case: MediaCase) -> None:
    """A file's vector does not depend on what else is encoded with it."""
    places = [*case.originals, *case.altered] * 3
    together = case.encode(places)
    alone = np.concatenate([case.encode([place]) for place in places[: len(places) // 3]])
    np.testing.assert_allclose(together, np.tile(alone, (3, 1)), atol=TOLERANCE)
    np.testing.assert_allclose(case.encode(places[::-1])[::-1], together, atol=TOLERANCE)


def check_encoding_is_deterministic(case: MediaCase) -> None:
    """Again, and by another instance, the same numbers to the last bit."""
    first = case.encode(case.originals)
    np.testing.assert_array_equal(case.encode(case.originals), first)
    np.testing.assert_array_equal(case.make().encode([case.content(place) for place in case.originals]), first)


def check_fingerprint_is_stable(case: MediaCase) -> None:
    """Known before anything is encoded, and the same for every instance."""
    fresh = case.make()
    assert fresh.fingerprint
    case.encode(case.originals[:1])
    assert case.encoder.fingerprint == fresh.fingerprint


def check_the_place_does_not_count(case: MediaCase) -> None:
    """A file under another name, and as a data URI, has the same vector."""
    original = Path(case.originals[0])
    copy = original.with_name("named without an ending")
    copy.write_bytes(original.read_bytes())
    uri = "data:application/octet-stream;base64," + base64.b64encode(original.read_bytes()).decode()
    here, there, inline = case.encode([str(original), str(copy), uri])
    np.testing.assert_allclose(there, here, atol=TOLERANCE)
    np.testing.assert_allclose(inline, here, atol=TOLERANCE)


def check_altered_copies_are_near(case: MediaCase) -> None:
    """An altered copy is nearer to its original than to any other original."""
    similar = case.encode(case.altered) @ case.encode(case.originals).T
    assert similar.argmax(axis=1).tolist() == list(range(len(case.originals)))


CHECKS: tuple[Callable[[MediaCase], None], ...] = (
    check_vectors_have_unit_length,
    check_absent_media_is_zero,
    check_unreadable_media_is_zero,
    check_batch_is_single,
    check_encoding_is_deterministic,
    check_fingerprint_is_stable,
    check_the_place_does_not_count,
    check_altered_copies_are_near,
)


def _pictures(folder: Path) -> tuple[list[str], list[str]]:
    originals, altered = [], []
    for name, pixels in _drawn().items():
        middle = pixels[12:-12, 12:-12]
        originals.append(_png(folder / f"{name}.png", pixels))
        altered.append(_png(folder / f"{name} altered.png", np.minimum(middle * 1.15, 255)))
    return originals, altered


def _drawn() -> dict[str, NDArray[Any]]:
    """Pictures (SIDE, SIDE, 3) of 0 to 255 by name."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    noise = np.random.default_rng(0).random((SIDE, SIDE))
    stripes = 0.5 + 0.5 * np.sin(60 * x)
    disc = (np.hypot(x - 0.5, y - 0.5) < 0.3) * 1.0
    squares = ((8 * x).astype(int) + (8 * y).astype(int)) % 2
    planes = {
        "stripes": (stripes, 0.3 * stripes, 0.2 * y),
        "disc": (0.9 * disc, 0.8 * disc + 0.1, 0.5 + 0.1 * y),
        "squares": (squares, squares, squares),
        "meadow": (0.3 * noise, 0.4 + 0.4 * noise * y, 0.6 * (y < 0.4)),
    }
    return {name: 255 * np.stack(np.broadcast_arrays(*plane), axis=-1) for name, plane in planes.items()}


def _png(path: Path, pixels: NDArray[Any]) -> str:
    from PIL import Image  # noqa: PLC0415  it is there with the extra alone

    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


def _sounds(folder: Path) -> tuple[list[str], list[str]]:
    noise = np.random.default_rng(1)
    originals, altered = [], []
    for name, samples in _played().items():
        fainter = 0.3 * samples + 0.001 * noise.standard_normal(len(samples))
        originals.append(_wav(folder / f"{name}.wav", samples))
        altered.append(_wav(folder / f"{name} altered.wav", fainter))
    return originals, altered


def _played() -> dict[str, NDArray[Any]]:
    """Sounds of 1.5 s, -1 to 1, by name."""
    t = np.arange(int(1.5 * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(t))
    harmonics = np.arange(1, 7)[:, None]
    beat = np.exp(-30 * (t % 0.375))
    return {
        "tone": 0.5 * (np.sin(2 * np.pi * 220 * harmonics * t) / harmonics).sum(axis=0),
        "drum": 0.9 * beat * np.sin(2 * np.pi * 60 * t),
        "hiss": 0.15 * noise,
        "chirp": 0.7 * np.sin(2 * np.pi * (1_000 * t + 1_500 * t**2)),
    }


def _wav(path: Path, samples: NDArray[Any]) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return str(path)


def _unreadable(folder: Path) -> list[str]:
    empty, other = folder / "empty", folder / "other.txt"
    empty.touch()
    other.write_text("neither a picture nor a sound")
    return [
        str(folder / "missing"),
        str(empty),
        str(other),
        str(folder),
        "https://localhost/poster.png",
        "data:image/png;base64,AAAA",
        "data:,",
        "a\0b",
        "x" * 10_000,
    ]
