"""How well encoders tell pictures, sounds and videos apart, by the nearest neighbour of each, and how fast they are.

    python benchmarks/media.py [--drumkits DIR]

Pictures: photographs that scikit-image, scikit-learn and matplotlib bring along, each with five altered copies (cut,
turned, mirrored, darker, small and noisy); the label is the photograph, so that this asks whether a picture is known
again, not whether two pictures of cats are alike. Sounds: seven classes made here by formulas with random pitch, speed,
length, volume and noise, as wav, flac, mp3 and ogg; no recordings. Videos: a wandering look at each photograph, as mp4,
webm and mkv, with a sound of one of the classes; asked are frames (label: photograph) and soundtracks (label: class).
DIR: /usr/share/hydrogen/data/drumkits of Debian's package hydrogen-drumkits, recorded hits, labelled by the names of
their files; the neighbour comes from another kit. "pixels", a thumbnail of 8 x 8, and `mel-statistics` know nothing and
show what the sets are worth.

It ends with status 1 unless pictures and videos reach 0.9, and generated sounds and soundtracks 0.8, with every encoder
of the package that is installed.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import matplotlib
import numpy as np
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content
from zhiyin.encoders.media import pictures
from zhiyin.encoders.weights import installed

BOUNDS = {"pictures": 0.9, "sounds": 0.8, "videos": 0.9, "soundtracks": 0.8}
IMAGE_ENCODER = "efficientnet-lite"
SOUND_ENCODERS = ("mel-statistics", *(("aisfx",) if installed("aisfx") else ()))

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)

RATE = 22_050
SOUNDS_A_CLASS = 12
FORMATS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "mp3", "ogg": "libopus"}
VIDEOS = {"mp4": "libx264", "webm": "libvpx-vp9", "mkv": "mpeg4"}
VIDEO_SIZE = (192, 144)
VIDEO_FRAMES, VIDEO_RATE = 24, 12

DRUMS = {
    "kick": r"kick|bass ?drum|\bbd",
    "snare": r"snare|\bsd|stick",
    "hat": r"hat|hh|\bho|\bhc",
    "tom": r"tom",
    "cymbal": r"crash|ride|cym|splash|china",
}

Samples = NDArray[np.float64]


@dataclass
class Labelled:
    """One place a label; group: neighbours come from another one."""

    places: list[str]
    labels: list[str]
    groups: list[str]

    @classmethod
    def empty(cls) -> "Labelled":
        return cls([], [], [])

    def add(self, place: Path, label: str, group: str | None = None) -> None:
        self.places.append(str(place))
        self.labels.append(label)
        self.groups.append(str(place) if group is None else group)


# -- pictures ---------------------------------------------------------------------------------------------------------


def photographs() -> dict[str, Image.Image]:
    folder = Path(skimage.__file__).parent / "data"
    found = {Path(name).stem: Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS}
    found |= {name: Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")}
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return found | {"hopper": Image.open(hopper).convert("RGB")}


def part(image: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    width, height = (round(side * share) for side in image.size)
    left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def altered(image: Image.Image, random: np.random.Generator) -> dict[str, Image.Image]:
    small = image.resize((image.width // 3, image.height // 3))
    noise = random.normal(0, 12, (*small.size[::-1], 3))
    return {
        "whole": image,
        "cut": ImageEnhance.Brightness(part(image, 0.7, random)).enhance(1.2),
        "turned": part(image.rotate(float(random.uniform(-15, 15)), Image.Resampling.BICUBIC), 0.8, random),
        "mirrored": part(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.8, random),
        "darker": ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(0.6)).enhance(0.8),
        "small": Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8)),
    }


def make_pictures(folder: Path) -> Labelled:
    random = np.random.default_rng(0)
    made = Labelled.empty()
    for label, image in photographs().items():
        for name, copy in altered(image, random).items():
            path = folder / f"{label}-{name}.jpg"
            copy.save(path, quality=40)
            made.add(path, label)
    return made


# -- sounds -----------------------------------------------------------------------------------------------------------


def seconds(random: np.random.Generator) -> Samples:
    return np.arange(int(random.uniform(0.7, 2.5) * RATE)) / RATE


def tone(random: np.random.Generator) -> Samples:
    t, pitch = seconds(random), random.uniform(150, 600)
    partials = [np.sin(2 * np.pi * pitch * k * t) * random.uniform(0.5, 1) / k for k in range(1, 9)]
    steady: Samples = np.sum(partials, axis=0)
    return steady * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(4, 7) * t))


def chirp(random: np.random.Generator) -> Samples:
    t, low, high = seconds(random), random.uniform(800, 1_500), random.uniform(3_000, 6_000)
    share = (t * random.uniform(1, 4)) % 1
    return np.sin(2 * np.pi * np.cumsum(low + (high - low) * share) / RATE)


def hiss(random: np.random.Generator) -> Samples:
    t = seconds(random)
    return band(random.standard_normal(len(t)), random.uniform(1_000, 3_000), 10_000)


def drum(random: np.random.Generator) -> Samples:
    t, pause = seconds(random), random.uniform(0.25, 0.6)
    since = t % pause
    body = np.sin(2 * np.pi * random.uniform(50, 90) * since) * np.exp(-random.uniform(12, 25) * since)
    return body + 0.3 * random.standard_normal(len(t)) * np.exp(-90 * since)


def bell(random: np.random.Generator) -> Samples:
    t, pitch = seconds(random), random.uniform(500, 1_200)
    partials = zip((0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76), (1, 1, 2, 2, 3, 3, 4, 5), strict=True)
    waves = [np.sin(2 * np.pi * pitch * ratio * t) * np.exp(-fade * t) for ratio, fade in partials]
    struck: Samples = np.sum(waves, axis=0)
    return struck


def voice(random: np.random.Generator) -> Samples:
    """Pulses through three moving formants, in syllables."""
    t, pitch = seconds(random), random.uniform(90, 220)
    source = (np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 1.5 * t))) / RATE) % 1 < 0.1
    said = np.zeros_like(t)
    for start in np.arange(0, t[-1], 1 / random.uniform(3, 5)):
        syllable = np.exp(-(((t - start) / 0.09) ** 2))
        for low, high in ((300, 900), (900, 2_200), (2_300, 3_000)):
            formant = random.uniform(low, high)
            said += band(source * syllable, formant * 0.9, formant * 1.1)
    return said


def engine(random: np.random.Generator) -> Samples:
    t, speed = seconds(random), random.uniform(15, 35)
    beats: Samples = np.maximum(np.sin(2 * np.pi * speed * t), 0) ** 3
    return band(random.standard_normal(len(t)), 60, 700) * beats + 0.3 * np.sin(2 * np.pi * 2 * speed * t)


CLASSES: Mapping[str, Callable[[np.random.Generator], Samples]] = {
    made.__name__: made for made in (tone, chirp, hiss, drum, bell, voice, engine)
}


def band(samples: Samples, low: float, high: float) -> Samples:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(samples))


def played(label: str, random: np.random.Generator) -> NDArray[np.float32]:
    """At some volume, over a little noise."""
    samples = CLASSES[label](random)
    samples *= random.uniform(0.1, 0.9) / np.abs(samples).max()
    samples += random.standard_normal(len(samples)) * 0.002
    return samples.astype(np.float32)


def add_sound(container: Any, stream: Any, samples: NDArray[np.float32]) -> None:
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    converter = av.AudioResampler(stream.format.name, "mono", stream.rate, stream.frame_size or None)
    for whole in (*converter.resample(frame), *converter.resample(None), None):
        container.mux(stream.encode(whole))


def make_sounds(folder: Path) -> Labelled:
    random = np.random.default_rng(1)
    made = Labelled.empty()
    for label in CLASSES:
        for number in range(SOUNDS_A_CLASS):
            ending, codec = list(FORMATS.items())[number % len(FORMATS)]
            path = folder / f"{label}-{number}.{ending}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else RATE, layout="mono")
                add_sound(container, stream, played(label, random))
            made.add(path, label)
    return made


def drum_hits(folder: Path) -> Labelled:
    """Files whose name tells one of `DRUMS`."""
    found = Labelled.empty()
    for path in sorted(folder.rglob("*")):
        labels = [label for label, names in DRUMS.items() if re.search(names, path.name.lower())]
        if len(labels) == 1 and path.suffix.lower() in {".flac", ".wav", ".ogg", ".aiff"}:
            found.add(path, labels[0], path.relative_to(folder).parts[0])
    return found


# -- videos -----------------------------------------------------------------------------------------------------------


def make_videos(folder: Path) -> tuple[Labelled, Labelled]:
    """The same files, labelled by photograph and by sound."""
    random = np.random.default_rng(2)
    seen, heard = Labelled.empty(), Labelled.empty()
    for number, (label, image) in enumerate(photographs().items()):
        for ending, codec in VIDEOS.items():
            path = folder / f"{label}.{ending}"
            sounding = list(CLASSES)[number % len(CLASSES)]
            with av.open(str(path), "w") as container:
                stream: Any = container.add_stream(codec, rate=VIDEO_RATE, pix_fmt="yuv420p")
                stream.width, stream.height = VIDEO_SIZE
                track = container.add_stream("libopus", rate=48_000, layout="mono")
                for frame in wandering(image, random):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame))))
                container.mux(stream.encode())
                add_sound(container, track, played(sounding, random))
            seen.add(path, label)
            heard.add(path, sounding)
    return seen, heard


def wandering(image: Image.Image, random: np.random.Generator) -> list[Image.Image]:
    """A part of the picture, moving from one place to another."""
    width, height = (side * random.uniform(0.5, 0.8) for side in image.size)
    room = np.array([image.width - width, image.height - height])
    start, end = random.random(2) * room, random.random(2) * room
    shown = []
    for share in np.linspace(0, 1, VIDEO_FRAMES):
        left, top = start + (end - start) * share
        shown.append(image.resize(VIDEO_SIZE, Image.Resampling.BICUBIC, (left, top, left + width, top + height)))
    return shown


# -- what is measured -------------------------------------------------------------------------------------------------


def accuracy(vectors: FloatMatrix, labelled: Labelled) -> float:
    """Share of rows whose nearest neighbour of another group has their label."""
    labels, groups = np.array(labelled.labels), np.array(labelled.groups)
    similar = vectors @ vectors.T
    similar[groups[:, None] == groups[None]] = -np.inf
    return float((labels[similar.argmax(axis=1)] == labels).mean())


def thumbnails(places: Sequence[str]) -> FloatMatrix:
    """(n, 192) unit length: mean of the frames, 8 x 8 pixels, less their mean."""
    shown = [
        np.mean([np.asarray(frame.resize((8, 8)), np.float32) for frame in pictures(place)], 0) for place in places
    ]
    vectors: FloatMatrix = np.stack(shown).reshape(len(places), -1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def measured(kind: str, name: str, labelled: Labelled) -> bool:
    """Prints a line; whether the bound of `kind` was held."""
    encoder = make_encoder(name)
    image = "image" in encoder.modalities
    contents = [Content(image=place) if image else Content(audio=place) for place in labelled.places]
    encoder.encode(contents[:2])
    began = time.perf_counter()
    vectors = encoder.encode(contents)
    rate = len(contents) / (time.perf_counter() - began)
    found = accuracy(vectors, labelled)
    bound = BOUNDS.get(kind)
    print(
        f"{kind}: {name} {found:.3f} of {len(contents)} ({len(set(labelled.labels))} labels), {rate:.1f} a second"
        + ("" if bound is None else f", bound {bound}"),
        flush=True,
    )
    return bound is None or found >= bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drumkits", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    held = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, sounds = make_pictures(folder), make_sounds(folder)
        videos, soundtracks = make_videos(folder)
        for kind, labelled in {"pictures": images, "videos": videos}.items():
            print(f"{kind}: pixels {accuracy(thumbnails(labelled.places), labelled):.3f}")
            held.append(measured(kind, IMAGE_ENCODER, labelled))
        for encoder in SOUND_ENCODERS:
            held += [measured("sounds", encoder, sounds), measured("soundtracks", encoder, soundtracks)]
            if arguments.drumkits is not None:
                held.append(measured("drums, from other kits", encoder, drum_hits(arguments.drumkits)))
    print(f"load {os.getloadavg()[0]:.1f}")
    print("all bounds held" if all(held) else "A BOUND WAS MISSED")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
