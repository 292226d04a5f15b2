"""A trained system in memory: what answers queries."""

from dataclasses import dataclass

from zhiyin.core.arrays import FloatVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Query
from zhiyin.core.events import Events
from zhiyin.core.models import Model
from zhiyin.core.results import Manifest
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.dataset.histories import history_of
from zhiyin.dataset.settings import PreparationSettings


@dataclass(frozen=True, eq=False)
class System:
    """Everything one published version serves with.

    model answers for users with a history, fallback (popularity) for the others. catalog is aligned with items.
    """

    manifest: Manifest
    model: Model
    fallback: Model
    items: Vocabulary
    catalog: Catalog
    settings: PreparationSettings
    rating_scale: tuple[float, float] | None

    def query(self, events: Events, now: int, user_features: FloatVector | None = None) -> Query:
        """The question that stands after `events` (one user's, oldest first)."""
        history = history_of(events, self.items, self.settings, self.rating_scale)
        return Query(history, now, user_features)
