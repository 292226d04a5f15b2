"""Files of MovieLens, which have no header: told by the shape of their first line.

Source: the README files of https://grouplens.org/datasets/movielens/
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from zhiyin.events.records import Records

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A file of `width` fields a line. names: its columns, after `arrange` where there is one."""

    delimiter: str
    width: int
    names: tuple[str, ...]
    shape: str = ".*"
    arrange: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    def fits(self, line: str) -> bool:
        return line.count(self.delimiter) == self.width - 1 and re.fullmatch(self.shape, line) is not None

    def arranged(self, batches: Iterator[Records]) -> Iterator[Records]:
        for records in batches:
            yield records if self.arrange is None else replace(records, cells=self.arrange(records.cells))


def headerless(kind: str, line: str) -> Layout | None:
    """The layout of a file of "events", "items" or "users" that begins with `line`; None where that is a header."""
    return next((layout for layout in _LAYOUTS[kind] if layout.fits(line.strip())), None)


def _one_column_of_genres(cells: pl.DataFrame) -> pl.DataFrame:
    flags = [pl.when(pl.col(str(place)) == "1").then(pl.lit(genre)) for place, genre in enumerate(_GENRES[1:], start=6)]
    return cells.select(
        "0", "1", pl.col("2").str.tail(4), pl.concat_str(flags, separator="|", ignore_nulls=True).alias("3")
    )


_RATING = ("user_id", "item_id", "rating", "timestamp")
_LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "events": (
        Layout("::", 4, _RATING),
        Layout("::", 3, _RATING[:3]),
        Layout("\t", 4, _RATING, r"-?\d+(\.\d+)?(\s*\t\s*-?\d+(\.\d+)?){3}"),
    ),
    "items": (
        Layout("::", 3, ("item_id", "title", "genres")),
        Layout("|", 24, ("item_id", "title", "release_year", "genres"), r"\d+\|.*(\|[01]){19}", _one_column_of_genres),
    ),
    "users": (
        Layout("::", 5, ("user_id", "gender", "age", "occupation", "zip")),
        Layout("|", 5, ("user_id", "age", "gender", "occupation", "zip"), r"\d+\|\d+\|[MF]\|[^|]+\|[^|]+"),
    ),
}
