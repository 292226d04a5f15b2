"""Files and data URIs decoded: pictures, frames of videos, sound. Nothing is fetched from a network."""

import base64
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

FRAMES = 8
"""Frames read of an animation or a video, evenly over its length."""

SECONDS = 10
"""Of a longer sound the beginning is heard."""

SIDE = 1024
"""A larger JPEG is decoded at a smaller scale, no shorter than this: models look at a few hundred pixels."""

RATIO = 16
"""Of a longer strip the middle is seen: a model that scales by the shorter side would make a giant of it."""

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM")
"""Those that Pillow decodes itself; it hands others, such as EPS, to another program."""

ANIMATED = ("GIF", "WEBP", "AVIF", "PNG")

CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,ogg,wav,flac,mp3,aac,aiff"
"""No playlists: they name further places to read."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DATA = re.compile(r"data:[^,]*?(?P<base64>;base64)?,(?P<data>.*)", re.DOTALL)


class UnreadableError(Exception):
    """Why a place holds nothing that can be decoded."""


def pictures(place: str) -> list[Any]:
    """The picture at `place`, upright, RGB, transparency over white; of an animation or a video up to `FRAMES` frames.

    Raises `UnreadableError` for what is missing, broken, no picture or video, or larger than Pillow deems safe.
    """
    with _opened(place) as file:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  it is there with the extra alone

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                image = Image.open(file, formats=FORMATS)
            except UnidentifiedImageError:
                return _frames(file, Image.MAX_IMAGE_PIXELS or 0)
            return _stills(image)


def sound(place: str, rate: int) -> NDArray[np.float32]:
    """(samples,) of one channel at `rate` Hz: the beginning of a sound file or of a video's soundtrack.

    A video without a soundtrack has no samples. Raises `UnreadableError` for what is missing, broken or neither.
    """
    with _opened(place) as file, _demuxed(file) as container:
        return np.concatenate([np.zeros(0, np.float32), *_heard(container, rate)])[: SECONDS * rate]


@contextmanager
def _opened(place: str) -> Iterator[BinaryIO]:
    """Whatever decoders raise of broken data comes out as `UnreadableError`."""
    try:
        with _binary(place) as file:
            yield file
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def _binary(place: str) -> BinaryIO:
    if uri := _DATA.fullmatch(place):
        data = unquote_to_bytes(uri["data"])
        return BytesIO(base64.b64decode(data) if uri["base64"] else data)
    if _ADDRESS.match(place) and not Path(place).is_file():
        raise UnreadableError("an address, and nothing is fetched: name a file of this machine")
    if not Path(place).is_file():
        raise UnreadableError("there is no such file")
    return Path(place).open("rb")


def _stills(image: Any) -> list[Any]:
    count = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
    image.draft(None, (SIDE, SIDE))
    found = []
    for moment in _moments(0, count):
        image.seek(moment)
        found.append(_plain(image))
    return found


def _plain(image: Any) -> Any:
    from PIL import Image, ImageOps  # noqa: PLC0415

    upright = _middle(ImageOps.exif_transpose(image))
    if upright.mode == "I;16":  # of its 65,536 shades, `convert` keeps the darkest 256
        upright = upright.point(lambda shade: shade / 256)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    coloured = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")


def _middle(image: Any) -> Any:
    width, height = (min(side, RATIO * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image if (width, height) == image.size else image.crop((left, top, left + width, top + height))


def _frames(file: BinaryIO, pixels: int) -> list[Any]:
    """What lies before a damaged place counts; of a video that does not tell its length, the first frame."""
    import av  # noqa: PLC0415

    with _demuxed(file) as container:
        if not container.streams.video:
            raise UnreadableError("neither a picture nor a video")
        stream = container.streams.video[0]
        if stream.width * stream.height > pixels:
            raise UnreadableError(f"{stream.width} x {stream.height} pixels are too many")
        found: list[Any] = []
        try:
            for moment in _moments(container.start_time or 0, container.duration or 0):
                container.seek(moment)
                found += _frame_at(container.decode(stream), moment / av.time_base)
        except av.FFmpegError:
            if not found:
                raise
        if not found:
            raise UnreadableError("a video without a frame")
        return found


def _frame_at(frames: Iterator[Any], seconds: float) -> list[Any]:
    """The first of `frames` at or after `seconds`, or the last one."""
    frame = None
    for frame in frames:
        if frame.time is None or frame.time >= seconds:
            break
    return [] if frame is None else [frame.to_image().rotate(frame.rotation, expand=True)]


def _moments(start: int, length: int) -> list[int]:
    """Up to `FRAMES` of the `length` moments from `start` on, each in the middle of an equal part."""
    parts = max(min(FRAMES, length), 1)
    return [start + length * (2 * part + 1) // (2 * parts) for part in range(parts)]


def _heard(container: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """What lies before a damaged place counts."""
    import av  # noqa: PLC0415

    if not container.streams.audio:
        return
    resampler = av.AudioResampler("flt", "mono", rate)
    samples = 0
    try:
        for frame in chain(container.decode(audio=0), [None]):
            for part in resampler.resample(frame):
                samples += part.samples
                yield part.to_ndarray()[0]
            if samples >= SECONDS * rate:
                return
    except av.FFmpegError:
        if not samples:
            raise


def _demuxed(file: BinaryIO) -> Any:
    import av  # noqa: PLC0415

    file.seek(0)
    return av.open(file, options={"format_whitelist": CONTAINERS})
