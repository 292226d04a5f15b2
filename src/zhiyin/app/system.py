"""A trained system in memory: what answers queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import FeatureColumn, Query
from zhiyin.core.events import Events
from zhiyin.core.models import Model
from zhiyin.core.results import Manifest
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.dataset.features import user_vector
from zhiyin.dataset.histories import history_of
from zhiyin.dataset.settings import PreparationSettings


@dataclass(frozen=True, eq=False)
class System:
    """Everything one published version serves with.

    model answers for users with a history, profile for those who told of nothing but themselves (None where training
    knew no attributes of users), fallback (popularity) for the others. catalog is aligned with items, as it
    stood at training. user_columns: how the model reads the attributes of a user; empty where it knows none. vectors:
    the folder of item vectors that training kept, None where there is none.
    """

    manifest: Manifest
    model: Model
    fallback: Model
    items: Vocabulary
    catalog: Catalog
    settings: PreparationSettings
    rating_scale: tuple[float, float] | None
    user_columns: tuple[FeatureColumn, ...] = ()
    vectors: Path | None = None
    profile: Model | None = None

    def query(
        self,
        events: Events,
        now: int,
        attributes: Mapping[str, str] | None = None,
        items: Vocabulary | None = None,
    ) -> Query:
        """The question that stands after `events` (oldest first) of one user, who told `attributes` of themselves.

        items: those that the model was extended by, behind its own; None for its own alone.
        """
        history = history_of(events, self.items if items is None else items, self.settings, self.rating_scale)
        features = user_vector(self.user_columns, attributes or {}) if self.user_columns else None
        return Query(history, now, features)
