"""A prepared data set: what models are fitted on and evaluated against."""

from collections.abc import Mapping
from dataclasses import dataclass

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.exposures import Exposures, Shown
from zhiyin.core.histories import Histories, History
from zhiyin.core.vocabulary import Vocabulary


@dataclass(frozen=True)
class FeatureColumn:
    """How one number is read off an attribute.

    value: 1 where the attribute is this word, else 0. Without one the attribute is a number, less `mean` and divided
    by `spread`; 0 where it is missing.
    """

    attribute: str
    value: str | None = None
    mean: float = 0.0
    spread: float = 1.0

    @property
    def name(self) -> str:
        return self.attribute if self.value is None else f"{self.attribute}={self.value}"


@dataclass(frozen=True, eq=False)
class Features:
    """Attributes as numbers. names: one a column of `matrix` (rows, columns), float32.

    columns: how each was made, for the users: a system reads their attributes anew whenever it is asked.
    """

    names: tuple[str, ...]
    matrix: FloatMatrix
    columns: tuple[FeatureColumn, ...] = ()


@dataclass(frozen=True)
class Removal:
    """What one cleaning step took out for one reason, in words. users: of whom something was taken."""

    step: str
    reason: str
    users: int
    events: int


@dataclass(frozen=True, eq=False)
class Query:
    """Everything a model may know of one user when it is asked. A new event needs no retraining.

    now: epoch ms as of which the question is put. user_features: (f,) as in `Dataset.user_features`, or None.
    """

    history: History
    now: int
    user_features: FloatVector | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Histories over two vocabularies, with the features of both sides.

    catalog: aligned with `items`. content: encoder name -> (n_items, dim) vectors, zero rows where an item
    has no content. rating_scale: lowest and highest rating, None where the data has none.
    now: epoch ms of the last known event. fingerprint: sha256 over content and settings. history_limit: the latest
    events that a query carries, None for all. removals: what cleaning took out beforehand. exposures: what was shown,
    at any time; None where nothing tells.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    catalog: Catalog
    user_features: Features
    item_features: Features
    content: Mapping[str, FloatMatrix]
    rating_scale: tuple[float, float] | None
    now: int
    fingerprint: str
    history_limit: int | None = None
    removals: tuple[Removal, ...] = ()
    exposures: Exposures | None = None

    def query(self, user: int) -> Query:
        """The question that stands at the end of `user`'s history."""
        return Query(self.histories.of(user).last(self.history_limit), self.now, self.features_of(user))

    def features_of(self, user: int) -> FloatVector | None:
        return self.user_features.matrix[user] if self.user_features.names else None


@dataclass(frozen=True, eq=False)
class Holdout:
    """Questions with known answers. Row `i`: `queries[i]` is all that may be known of user `users[i]`.

    targets: per query (t,) the item rows the user went on to, in the order of time, none of them among `seen`.
    ratings: per query (t,) or NaN. seen: per query, rows that a list must not hold. shown: per query, what the user was
    shown after the history and before the last answer; empty where nothing tells.

    outcomes: per query (t, kinds), what came of each target before the span of the questions ended: 1 where the user
    did what `kinds` names at that place, else 0; of `rating` the place of the last one on the scale, from 0 to 1, NaN
    where there is none. Empty where nothing tells kinds apart.
    """

    name: str
    users: IntVector
    queries: tuple[Query, ...]
    targets: tuple[IntVector, ...]
    ratings: tuple[FloatVector, ...]
    seen: tuple[IntVector, ...]
    shown: tuple[Shown, ...] = ()
    outcomes: tuple[FloatMatrix, ...] = ()
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: IntVector) -> "Holdout":
        queries, targets, ratings, seen = (
            tuple(column[row] for row in rows) for column in (self.queries, self.targets, self.ratings, self.seen)
        )
        shown = tuple(self.shown[row] for row in rows) if self.shown else ()
        outcomes = tuple(self.outcomes[row] for row in rows) if self.outcomes else ()
        return Holdout(self.name, self.users[rows], queries, targets, ratings, seen, shown, outcomes, self.kinds)


@dataclass(frozen=True, eq=False)
class Split:
    """What a model may be fitted on, and the questions put to it afterwards."""

    train: Dataset
    holdout: Holdout
