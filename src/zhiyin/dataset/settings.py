"""How events become histories: the settings that live in the artefact, so that training and serving cannot differ."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EventRule(BaseModel):
    """What one kind of event says.

    weight: preference, below zero for dislike, 0 keeps the event out of histories. seen: the item counts as known
    to the user and is left out of lists. per_value: multiply the weight by the event's value (seconds played).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = 1.0
    seen: bool = True
    per_value: bool = False


EVENT_RULES: dict[str, EventRule] = {
    "view": EventRule(weight=0.5),
    "click": EventRule(weight=0.5),
    "play": EventRule(weight=1.0),
    "cart": EventRule(weight=0.8),
    "purchase": EventRule(weight=1.0),
    "rating": EventRule(weight=1.0),
    "like": EventRule(weight=1.0),
    "share": EventRule(weight=1.0),
    "dislike": EventRule(weight=-1.0),
    "not-interested": EventRule(weight=-0.5),
    "return": EventRule(weight=-0.5),
    "impression": EventRule(weight=0.0, seen=False),
}


class PreparationSettings(BaseModel):
    """From the log to a data set.

    rating_rule: "interest": whoever rates an item chose it, so every rating is an interaction of the weight of its
    kind; "scale": the weight is multiplied by 2 (r - low) / (high - low) - 1, from -1 at the lowest rating to 1 at
    the highest. rating_scale: lowest and highest, None reads them off the data. history_limit: the latest events
    that a query carries, in evaluation and in serving alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Mapping[str, EventRule] = Field(default_factory=lambda: dict(EVENT_RULES))
    other_events: EventRule = EventRule(weight=0.5)
    rating_rule: Literal["interest", "scale"] = "interest"
    rating_scale: tuple[float, float] | None = None
    min_user_events: int = Field(default=1, ge=1)
    min_item_events: int = Field(default=1, ge=0)
    history_limit: int = Field(default=10_000, ge=1)
    encoder: str | None = "use-multilingual"

    def rule(self, event: str) -> EventRule:
        return self.events.get(event, self.other_events)
