"""From what the service says to what goes over the wire."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Response

from zhiyin.app.service import HistoryEntry, ItemView, Service, Shelf, Taste
from zhiyin.core.results import Reason, Recommendations
from zhiyin.web.schemas import (
    FoundListOut,
    FoundOut,
    HistoryEntryOut,
    ItemOut,
    TasteOut,
)


def item_out(view: ItemView) -> ItemOut:
    return ItemOut(
        item_id=view.item_id,
        title=view.title,
        description=view.description,
        categories=list(view.categories),
        price=view.price,
        generated=view.generated,
    )


def found_out(found: Sequence[tuple[ItemView, float]]) -> FoundListOut:
    return FoundListOut(items=[FoundOut(item=item_out(view), score=score) for view, score in found])


def entry_out(entry: HistoryEntry) -> HistoryEntryOut:
    return HistoryEntryOut(
        item_id=entry.item_id, title=entry.title, event=entry.event, value=entry.value, timestamp=entry.timestamp
    )


def taste_out(user_id: str, taste: Taste | None) -> TasteOut:
    if taste is None:
        return TasteOut(user_id=user_id, text=None, source=None)
    return TasteOut(user_id=user_id, text=taste.text, source=taste.source)


def answered(told: Mapping[str, Any]) -> Response:
    """`told` as JSON, unchecked: to check what the service says takes longer than to write it down."""
    return Response(orjson.dumps(told), media_type="application/json")


def list_told(service: Service, served: Recommendations, cursor: str | None = None) -> dict[str, Any]:
    """A `RecommendationsOut`."""
    return {
        "user_id": served.user_id,
        "rung": served.rung,
        "recommendation_id": served.recommendation_id,
        "manifest_id": served.manifest_id,
        "cursor": cursor,
        "items": [
            {
                "item": service.describe(item.item_id),
                "rank": item.rank,
                "score": item.score,
                "reason": reason_told(service, item.reason),
            }
            for item in served.items
        ],
    }


def reason_told(service: Service, reason: Reason) -> dict[str, Any]:
    """A `ReasonOut`."""
    title = None if reason.item_id is None else service.describe(reason.item_id).title
    return {**vars(reason), "title": title}


def shelf_told(service: Service, shelf: Shelf) -> dict[str, Any]:
    """A `ShelfOut`."""
    return {
        "kind": shelf.kind,
        "category": shelf.category,
        "reason": reason_told(service, shelf.reason) if shelf.reason else None,
        "recommendations": list_told(service, shelf.recommendations),
    }
