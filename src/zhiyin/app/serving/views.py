"""Items and events as they are shown."""

from dataclasses import dataclass
from math import isfinite

from zhiyin.app.generated import DESCRIPTION_SOURCE, GENERATED
from zhiyin.core.catalog import Catalog


@dataclass(frozen=True)
class ItemView:
    """What is known of one item; `title` falls back to the id. generated: a language model wrote the description."""

    item_id: str
    title: str
    description: str | None
    categories: tuple[str, ...]
    price: float | None
    generated: bool = False

    @classmethod
    def of(cls, catalog: Catalog, row: int) -> "ItemView":
        return cls(
            item_id=catalog.item_id[row],
            title=title(catalog, row),
            description=catalog.description[row],
            categories=catalog.categories[row],
            price=number(catalog.price[row]),
            generated=DESCRIPTION_SOURCE in catalog.attributes
            and catalog.attributes[DESCRIPTION_SOURCE][row] == GENERATED,
        )


@dataclass(frozen=True)
class HistoryEntry:
    """One event of a user; timestamp is epoch ms, None where unknown."""

    item_id: str
    title: str
    event: str
    value: float | None
    timestamp: int | None


def title(catalog: Catalog, row: int) -> str:
    """The title of the item at `row`, or its id where it has none."""
    return str(catalog.title[row] or catalog.item_id[row])


def number(value: float) -> float | None:
    """`value`, or None where it is no finite number."""
    return float(value) if isfinite(value) else None
