"""What a catalogue says of items beside texts and media: categories, tags, brands, prices and other numbers."""

from collections.abc import Iterator, Sequence
from math import asinh, floor, hypot, isfinite
from typing import ClassVar

from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.models import Content
from zhiyin.encoders.hashing import projected
from zhiyin.encoders.texts import unit_vectors

SEPARATOR = "|"
"""Between the values of an attribute that has several."""

STEPS = 4
"""Steps of a number where it grows e-fold; numbers a step apart share half of what they say."""


class Attributes:
    """256-dimensional vectors of attributes and their values, hashed; numbers that are near have a value in common.

    All attributes weigh alike, however many values they have. It learns nothing: an item's vector does not depend on
    the other items.
    """

    name: ClassVar[str] = "attributes"
    modalities = frozenset({"attributes"})
    dim = 256
    fingerprint = "attributes/1"

    def encode(self, contents: Sequence[Content]) -> FloatMatrix:
        lines = [Content(text=content.attributes) for content in contents]
        return unit_vectors(lines, self._read, lambda: self.dim)

    def _read(self, lines: list[str]) -> FloatMatrix:
        return projected([_bag(each) for each in lines], self.dim)


def _bag(lines: str) -> dict[str, float]:
    named: dict[str, dict[str, float]] = {}
    for line in lines.splitlines():
        name, _, value = line.partition("=")
        for one in value.split(SEPARATOR):
            named.setdefault(name, {}).update(_told(one.strip().casefold()))
    return {
        f"{name}={value}": weight / hypot(*values.values())
        for name, values in named.items()
        for value, weight in values.items()
    }


def _told(value: str) -> Iterator[tuple[str, float]]:
    """A word by itself; a number by itself and by the two steps between which it lies."""
    yield value, 1.0
    try:
        number = float(value)
    except ValueError:
        return
    if isfinite(number):
        place = asinh(number) * STEPS
        below = floor(place)
        yield f"~{below}", 1.0 - (place - below)
        yield f"~{below + 1}", place - below
