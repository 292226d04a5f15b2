"""How events become histories: the settings that live in the artefact, so that training and serving cannot differ."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class EventRule(BaseModel):
    """What one kind of event says.

    weight: preference, below zero for dislike, 0 keeps the event out of histories unless it is a rating. seen: the item
    counts as known to the user and is left out of lists. per_value: multiply the weight by the event's value (seconds
    played).
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


class BotLimits(BaseModel):
    """A user who goes beyond one of these is no person. Hours and days are those of the clock in UTC.

    events_a_day: of any kind that has a weight. hours_a_day: hours of one day with an event in them. seconds_an_hour:
    seconds of one hour with an event in them, so that the many lines of one order count once.

    The defaults leave room above the busiest people of public data: 1,438 ratings in a day, 12 hours of a day and
    187 seconds of an hour (MovieLens 1M), 543 lines in one order (UCI Online Retail).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events_a_day: int = Field(default=10_000, ge=1)
    hours_a_day: int = Field(default=20, ge=1, le=24)
    seconds_an_hour: int = Field(default=1_000, ge=1, le=3_600)


class PreparationSettings(BaseModel):
    """From the log to a data set.

    events: rules of kinds of event over `EVENT_RULES`; what a rule leaves out stays as it is there. min_item_events:
    an item with fewer events is left out, unless the catalogue describes it.

    rating_rule: "interest": whoever rates an item chose it, so every rating is an interaction of the weight of its
    kind; "scale": the weight is multiplied by 2 (r - low) / (high - low) - 1, from -1 at the lowest rating to 1 at
    the highest. rating_scale: lowest and highest, None reads them off the data. history_limit: the latest events
    that a query carries, in evaluation and in serving alike.

    encoders: what reads the items, each `NAME` or `NAME:ARGUMENT`; none, and items are known by their events alone.

    cleaning: steps in their order: "bots", users beyond one of the limits `bots`; "repeats", where the same user does
    the same to the same item again within `repeat_seconds` (a double click), of which the last counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Mapping[str, EventRule] = Field(default_factory=lambda: dict(EVENT_RULES))
    other_events: EventRule = EventRule(weight=0.5)
    rating_rule: Literal["interest", "scale"] = "interest"
    rating_scale: tuple[float, float] | None = None
    min_user_events: int = Field(default=1, ge=1)
    min_item_events: int = Field(default=1, ge=0)
    history_limit: int = Field(default=10_000, ge=1)
    encoders: tuple[str, ...] = ("use-multilingual",)
    cleaning: tuple[Literal["bots", "repeats"], ...] = ()
    bots: BotLimits = BotLimits()
    repeat_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _of_one_encoder(cls, given: Any) -> Any:
        """Systems that were trained when there was but one name it under `encoder`."""
        if not isinstance(given, Mapping) or "encoder" not in given:
            return given
        one = given["encoder"]
        others = {name: value for name, value in given.items() if name != "encoder"}
        return {"encoders": () if one is None else (one,), **others}

    @field_validator("events", mode="before")
    @classmethod
    def _over_the_defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        rules: dict[str, Any] = dict(EVENT_RULES)
        for kind, rule in given.items():
            known = EVENT_RULES[kind].model_dump() if kind in EVENT_RULES else {}
            rules[kind] = rule if isinstance(rule, EventRule) else {**known, **rule}
        return rules

    def rule(self, event: str) -> EventRule:
        return self.events.get(event, self.other_events)
