"""From what the service says to what goes over the wire."""

from collections.abc import Sequence

from zhiyin.app.service import HistoryEntry, ItemView, Service, Shelf, Taste
from zhiyin.core.results import Reason, Recommendations
from zhiyin.web.schemas import (
    FoundListOut,
    FoundOut,
    HistoryEntryOut,
    ItemOut,
    ReasonOut,
    RecommendationsOut,
    RecommendedOut,
    ShelfOut,
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


def reason_out(service: Service, reason: Reason) -> ReasonOut:
    return ReasonOut(
        kind=reason.kind,
        item_id=reason.item_id,
        title=None if reason.item_id is None else service.describe(reason.item_id).title,
        event=reason.event,
        value=reason.value,
        share=reason.share,
    )


def list_out(service: Service, served: Recommendations, cursor: str | None = None) -> RecommendationsOut:
    return RecommendationsOut(
        user_id=served.user_id,
        rung=served.rung,
        recommendation_id=served.recommendation_id,
        manifest_id=served.manifest_id,
        cursor=cursor,
        items=[
            RecommendedOut(
                item=item_out(service.describe(item.item_id)),
                rank=item.rank,
                score=item.score,
                reason=reason_out(service, item.reason),
            )
            for item in served.items
        ],
    )


def shelf_out(service: Service, shelf: Shelf) -> ShelfOut:
    return ShelfOut(
        kind=shelf.kind,
        category=shelf.category,
        reason=reason_out(service, shelf.reason) if shelf.reason else None,
        recommendations=list_out(service, shelf.recommendations),
    )
