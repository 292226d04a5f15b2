"""What can be recommended, and what is known of the people: columnar, aligned by row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector, TextVector
from zhiyin.core.errors import InputError
from zhiyin.core.events import MISSING_TIME, text

ITEM_COLUMNS = (
    "item_id",
    "title",
    "description",
    "categories",
    "price",
    "image",
    "audio",
    "available_from",
    "available",
)


@dataclass(frozen=True, eq=False)
class Catalog:
    """`n` items. Every column has one row an item.

    categories: object array of tuples of `str`. price: float64, NaN where unknown.
    available_from: int64 epoch milliseconds or `MISSING_TIME`. attributes: further named text columns.
    """

    item_id: TextVector
    title: TextVector
    description: TextVector
    categories: TextVector
    price: FloatVector
    image: TextVector
    audio: TextVector
    available_from: IntVector
    available: BoolVector
    attributes: Mapping[str, TextVector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*ITEM_COLUMNS[1:], *self.attributes):
            column = self.attributes[name] if name in self.attributes else getattr(self, name)
            if len(column) != len(self.item_id):
                raise InputError(f"catalogue column {name!r} has {len(column)} rows for {len(self.item_id)} items")

    def __len__(self) -> int:
        return len(self.item_id)

    def texts(self, *, titled: bool = True) -> list[str | None]:
        """What is said of each item in words: title, categories and description, None where there is none of them."""
        rows = zip(self.title, self.categories, self.description, strict=True)
        parts = ((title if titled else None, ", ".join(categories), words) for title, categories, words in rows)
        return [". ".join(filter(None, part)) or None for part in parts]

    def lines(self) -> list[str | None]:
        """What is said of each item in attributes, NAME=VALUE or NAME=VALUE|VALUE line by line, None where there is
        nothing.

        When it appeared is its year and its month, so that items of one season have more in common than of one year.
        """
        found: list[list[str]] = [[f"category={category}" for category in group] for group in self.categories]
        for name, values in self.attributes.items():
            for row, value in enumerate(values):
                if value:
                    found[row].append(f"{name}={_several(value)}".replace("\n", " "))
        for row in np.flatnonzero(np.isfinite(self.price)).tolist():
            found[row].append(f"price={self.price[row]:g}")
        for row in np.flatnonzero(self.available_from != MISSING_TIME).tolist():
            month = np.datetime64(int(self.available_from[row]), "ms").astype("datetime64[M]")
            found[row].append(f"available_from=year {str(month)[:4]}|month {month}")
        return ["\n".join(each) or None for each in found]

    @classmethod
    def build(
        cls,
        *,
        item_id: Sequence[str],
        title: Sequence[str | None] | None = None,
        description: Sequence[str | None] | None = None,
        categories: Sequence[Sequence[str]] | None = None,
        price: Sequence[float] | None = None,
        image: Sequence[str | None] | None = None,
        audio: Sequence[str | None] | None = None,
        available_from: Sequence[int] | None = None,
        available: Sequence[bool] | None = None,
        attributes: Mapping[str, Sequence[str | None]] | None = None,
    ) -> Self:
        """A catalogue from plain sequences; a column left out is missing (and every item available)."""
        n = len(item_id)
        empty: list[str | None] = [None] * n
        groups = np.empty(n, dtype=object)
        for row in range(n):
            groups[row] = tuple(categories[row]) if categories is not None else ()
        return cls(
            item_id=text(item_id),
            title=text(title if title is not None else empty),
            description=text(description if description is not None else empty),
            categories=groups,
            price=np.full(n, np.nan) if price is None else np.asarray(price, np.float64),
            image=text(image if image is not None else empty),
            audio=text(audio if audio is not None else empty),
            available_from=np.full(n, MISSING_TIME, np.int64)
            if available_from is None
            else np.asarray(available_from, np.int64),
            available=np.ones(n, np.bool_) if available is None else np.asarray(available, np.bool_),
            attributes={name: text(column) for name, column in (attributes or {}).items()},
        )

    def take(self, rows: IntVector) -> Self:
        """The items at `rows`, in that order."""
        columns = {name: getattr(self, name)[rows] for name in ITEM_COLUMNS}
        return type(self)(**columns, attributes={k: v[rows] for k, v in self.attributes.items()})

    def written(self, rows: IntVector, items: Self) -> Self:
        """With `items` at `rows`, each in the place of what was there; rows behind the end go on from it, in order."""
        arrived = rows >= len(self)

        def column(old: np.ndarray, new: np.ndarray) -> np.ndarray:
            longer = np.concatenate([old, new[arrived]])
            longer[rows] = new
            return longer

        attributes = {
            name: column(_attribute(self, name), _attribute(items, name))
            for name in dict.fromkeys([*self.attributes, *items.attributes])
        }
        columns = {name: column(getattr(self, name), getattr(items, name)) for name in ITEM_COLUMNS}
        return type(self)(**columns, attributes=attributes)


def attributes_at(columns: Mapping[str, TextVector], row: int) -> dict[str, str]:
    """What named text columns tell in one row."""
    return {name: column[row] for name, column in columns.items() if column[row] is not None}


def attribute_columns(rows: Iterable[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """`attributes_at` of each row as columns, None where a row tells nothing."""
    known = list(rows)
    names = sorted({name for row in known for name in row})
    return {name: [row.get(name) for row in known] for name in names}


def _several(value: str) -> str:
    """A list in JSON as one that is parted by bars."""
    try:
        listed = json.loads(value) if value.startswith("[") else None
    except (ValueError, RecursionError):
        return value
    return "|".join(map(str, listed)) if isinstance(listed, list) else value


def _attribute(catalog: Catalog, name: str) -> TextVector:
    nothing: TextVector = np.full(len(catalog), None, object)
    return catalog.attributes.get(name, nothing)


@dataclass(frozen=True, eq=False)
class Users:
    """`n` people and what they told of themselves. attributes: named text columns, `None` where unknown."""

    user_id: TextVector
    attributes: Mapping[str, TextVector] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user_id)

    @classmethod
    def build(cls, *, user_id: Sequence[str], attributes: Mapping[str, Sequence[str | None]] | None = None) -> Self:
        return cls(text(user_id), {name: text(column) for name, column in (attributes or {}).items()})
