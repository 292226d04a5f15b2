"""What comes out: recommendations, explanations, and the description of a trained system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zhiyin.core.arrays import FloatMatrix, FloatVector


@dataclass(frozen=True)
class Reason:
    """Why an item is there, as far as the model can truly say.

    kind: "history" (an exact share of the score comes from `item_id`), "popular", or "none".
    item_id, event, value: the event of the user's own history that gave the largest share; value is its rating.
    share: that event's part of the sum of all positive contributions, 0 to 1.
    """

    kind: str
    item_id: str | None = None
    event: str | None = None
    value: float | None = None
    share: float | None = None


NO_REASON = Reason("none")


@dataclass(frozen=True)
class Recommended:
    """One line of a list. rank counts from 1; propensity is the chance with which it was shown there."""

    item_id: str
    rank: int
    score: float
    reason: Reason
    propensity: float = 1.0


@dataclass(frozen=True)
class Recommendations:
    """A list for one user. rung: where it came from ("personal", "session", "words", "profile", "popular").

    manifest_id: the version that answered.
    """

    user_id: str
    items: Sequence[Recommended]
    rung: str
    recommendation_id: str
    manifest_id: str


@dataclass(frozen=True, eq=False)
class Contributions:
    """score[i] == base[i] + parts[i].sum(), exactly. parts: (items, events of the history); base: (items,)."""

    base: FloatVector
    parts: FloatMatrix


@dataclass(frozen=True)
class Manifest:
    """The description of a trained system; everything that shapes a query is in it.

    components: name -> {"model": registered name, "config": its settings}. files: name -> sha256.
    """

    format_version: int
    manifest_id: str
    created: str
    code_version: str
    components: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    split: Mapping[str, Any]
    metrics: Mapping[str, Any]
    files: Mapping[str, str]
    privacy: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
