"""Small stand-ins for what a service needs: stores in memory, a system over a dozen films."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from zhiyin.app.system import System
from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.events import Events, text
from zhiyin.core.models import Candidates, FitReport, Parameters, Run, gather
from zhiyin.core.results import Contributions, Manifest
from zhiyin.core.stores import (
    AppendReport,
    CatalogStore,
    Cursor,
    ErasureReport,
    EventStore,
    Held,
    Impressions,
    ImpressionStore,
    Key,
    KeyStore,
    ShownList,
    Taste,
    TasteStore,
    UserStore,
    Which,
)
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.dataset.prepare import align, overlay
from zhiyin.dataset.settings import PreparationSettings

NOW = 1_700_000_000_000


class MemoryEvents:
    def __init__(self) -> None:
        self.log = Events.empty()

    def append(self, events: Events) -> AppendReport:
        last = len(self.log)
        known = set(self.log.event_id) - {None}
        fresh = events.take(np.array([identifier not in known for identifier in events.event_id], np.bool_))
        ids = text(i or f"event-{last + row}" for row, i in enumerate(fresh.event_id))
        columns = {name: getattr(fresh, name) for name in fresh.__dataclass_fields__}
        columns |= {"event_id": ids, "sequence": np.arange(last + 1, last + 1 + len(fresh))}
        self.log = Events.concat([self.log, Events(**columns)])
        return AppendReport(len(fresh), len(events) - len(fresh))

    def read(self, since: Cursor | None = None) -> Iterator[Events]:
        yield self.log.take(self.log.sequence > (since or 0))

    def history(self, user_id: str, limit: int) -> Events:
        return self.log.take(np.flatnonzero(self.log.user_id == user_id)[-limit:])

    def histories(self, user_ids: Sequence[str], limit: int) -> Events:
        return Events.concat([self.history(user_id, limit) for user_id in user_ids])

    def find(self, which: Which, limit: int, since: Cursor | None = None) -> Events:
        later = self.log.take(self._of(which) & (self.log.sequence > (since or 0)))
        return later.take(np.arange(min(limit, len(later))))

    def remove(self, which: Which) -> int:
        found = self._of(which)
        self.log = self.log.take(~found)
        return int(found.sum())

    def _of(self, which: Which) -> BoolVector:
        found = np.ones(len(self.log), np.bool_)
        for name, value in vars(which).items():
            if value is not None:
                found &= getattr(self.log, name) == value
        return found

    def last_sequence(self) -> int:
        return len(self.log)

    def user_counts(self, limit: int, prefix: str = "") -> list[tuple[str, int]]:
        ids, counts = np.unique(self.log.user_id.astype(str), return_counts=True)
        found = [(str(i), int(n)) for i, n in zip(ids, counts, strict=True) if i.startswith(prefix)]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def erase(self, user_id: str) -> ErasureReport:
        before = len(self.log)
        self.log = self.log.take(self.log.user_id != user_id)
        return ErasureReport({"events": before - len(self.log)})


class MemoryImpressions:
    def __init__(self) -> None:
        self.logged: list[ShownList] = []

    def log(self, lists: Sequence[ShownList]) -> int:
        self.logged += lists
        return len(lists)

    def read(self, recommendation_id: str) -> Impressions:
        return Impressions.of([each for each in self.logged if each.served.recommendation_id == recommendation_id][:1])

    def every(self) -> Iterator[Events]:
        for each in self.logged:
            shown = Impressions.of([each])
            yield Events.build(
                user_id=shown.user_id.tolist(),
                item_id=shown.item_id.tolist(),
                event="impression",
                timestamp=shown.timestamp.tolist(),
                position=shown.position.tolist(),
            )


class MemoryCatalog:
    def __init__(self) -> None:
        self.catalog = Catalog.build(item_id=[])
        self.written: dict[str, int] = {}
        self.writes = 0

    def upsert(self, catalog: Catalog) -> int:
        ids = list(dict.fromkeys([*self.catalog.item_id, *catalog.item_id]))
        self.catalog = overlay(align(self.catalog, Vocabulary(ids)), catalog)
        self.writes += 1
        self.written |= dict.fromkeys(catalog.item_id, self.writes)
        return len(catalog)

    def changes(self, since: int | None) -> tuple[Catalog, int]:
        later = [since is None or self.written[item_id] > since for item_id in self.catalog.item_id]
        return self.catalog.take(np.flatnonzero(later)), self.writes

    def read(self) -> Catalog:
        return self.catalog

    def find(self, item_ids: Sequence[str]) -> Catalog:
        return self.catalog.take(np.flatnonzero(np.isin(self.catalog.item_id, item_ids)))

    def page(self, after: str, limit: int) -> Catalog:
        later = sorted(item_id for item_id in self.catalog.item_id if item_id > after)[:limit]
        return self.catalog.take(Vocabulary(self.catalog.item_id).rows(later))

    def remove(self, item_ids: Sequence[str]) -> int:
        found = self.find(item_ids)
        self.upsert(replace(found, available=np.zeros(len(found), np.bool_)))
        return len(found)

    def revision(self) -> int:
        return self.writes


class MemoryUsers:
    def __init__(self) -> None:
        self.users = Users.build(user_id=[])

    def upsert(self, users: Users) -> int:
        self.users = users
        return len(users)

    def read(self) -> Users:
        return self.users

    def find(self, user_ids: Sequence[str]) -> Users:
        return Users.build(user_id=[user_id for user_id in self.users.user_id if user_id in user_ids])

    def page(self, after: str, limit: int) -> Users:
        later = sorted(user_id for user_id in self.users.user_id if user_id > after)[:limit]
        return Users.build(user_id=later)

    def attributes(self, user_id: str) -> Mapping[str, str]:
        told = self.users.attributes.items()
        return {n: v for n, column in told for i, v in zip(self.users.user_id, column, strict=True) if i == user_id}


class MemoryTastes:
    def __init__(self) -> None:
        self.tastes: dict[str, Taste] = {}

    def read(self, user_id: str) -> Taste | None:
        return self.tastes.get(user_id)

    def write(self, user_id: str, taste: Taste) -> Taste:
        known = self.tastes.get(user_id)
        if known is None or known.source == "generated" or taste.source == "edited":
            self.tastes[user_id] = taste
        return self.tastes[user_id]

    def clear(self, user_id: str) -> None:
        self.tastes.pop(user_id, None)


class MemoryKeys:
    def __init__(self) -> None:
        self.keys: dict[str, tuple[Key, str]] = {}

    def add(self, key: Key, digest: str) -> None:
        self.keys[key.key_id] = key, digest

    def find(self, key_id: str) -> tuple[Key, str] | None:
        return self.keys.get(key_id)

    def every(self) -> list[Key]:
        return [key for key, _ in self.keys.values() if key.user_id is None]

    def revoke(self, key_id: str) -> bool:
        key, digest = self.keys[key_id]
        self.keys[key_id] = replace(key, revoked=True), digest
        return not key.revoked

    def clear(self, before: int) -> int:
        past = [name for name, (key, _) in self.keys.items() if key.user_id and (key.expires or before) < before]
        for name in past:
            del self.keys[name]
        return len(past)


class MemoryStores:
    def __init__(self) -> None:
        self.events: EventStore = MemoryEvents()
        self.catalog: CatalogStore = MemoryCatalog()
        self.users: UserStore = MemoryUsers()
        self.impressions: ImpressionStore = MemoryImpressions()
        self.tastes: TasteStore = MemoryTastes()
        self.keys: KeyStore = MemoryKeys()

    @contextmanager
    def transaction(self, *held: Held) -> Iterator[None]:
        yield

    def close(self) -> None:
        return


class NoSettings(BaseModel):
    pass


class ByCount:
    """Scores every item alike for everybody: a popularity model with given counts."""

    name: ClassVar[str] = "by-count"
    Config: ClassVar[type[Any]] = NoSettings

    def __init__(self, config: Any, counts: FloatVector | tuple[float, ...] = ()) -> None:
        self.config = config
        self.counts = np.asarray(counts, np.float64)

    def fit(self, data: Dataset, run: Run) -> FitReport:
        return FitReport()

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(np.tile(self.counts, (len(queries), 1)), candidates)

    def parameters(self) -> Parameters:
        return {"counts": self.counts}

    def load_parameters(self, parameters: Parameters) -> None:
        self.counts = parameters["counts"]


class ByBackwardCount(ByCount):
    name: ClassVar[str] = "by-backward-count"


class ByNeighbour(ByCount):
    """Scores by summing similarities to the history, so that each event's part is exact."""

    name: ClassVar[str] = "by-neighbour"

    def __init__(self, config: Any, similarity: FloatMatrix) -> None:
        super().__init__(config)
        self.similarity = similarity

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        everything = np.arange(len(self.similarity))
        parts = [self.contributions(query, everything).parts.sum(axis=1) for query in queries]
        return gather(np.stack(parts), candidates)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        parts = self.similarity[np.ix_(items, query.history.items)] * query.history.weights
        return Contributions(np.zeros(len(items)), parts)


FILMS = (
    ("alien", "Alien", ("Science fiction", "Horror")),
    ("blade-runner", "Blade Runner", ("Science fiction",)),
    ("solaris", "Солярис", ("Science fiction", "Drama")),
    ("stalker", "Stalker", ("Science fiction", "Drama")),
    ("moon", "Moon", ("Science fiction", "Drama")),
    ("arrival", "Arrival", ("Science fiction", "Drama")),
    ("mood", "花样年华 In the Mood for Love", ("Romance", "Drama")),
    ("chungking", "重庆森林 Chungking Express", ("Romance", "Drama")),
    ("amelie", "Amélie", ("Romance", "Comedy")),
    ("before-sunrise", "Before Sunrise", ("Romance", "Drama")),
    ("casablanca", "Casablanca", ("Romance", "Drama")),
    ("wall-e", "WALL·E", ("Animation", "Science fiction")),
    ("totoro", "となりのトトロ", ("Animation",)),
    ("spirited-away", "千と千尋の神隠し", ("Animation",)),
    ("up", "Up", ("Animation", "Comedy")),
    ("lost", "A Film That Is Lost", ("Drama",)),
)


def films_system(*, additive: bool = True, manifest_id: str = "films-1") -> System:
    """Films that are near where they share categories; "lost" is not available."""
    ids = [film[0] for film in FILMS]
    kinds = sorted({kind for film in FILMS for kind in film[2]})
    member = np.array([[kind in film[2] for kind in kinds] for film in FILMS], np.float64)
    counts = np.arange(len(ids), 0, -1, dtype=np.float64)
    # A hundredth of the place keeps near ties apart.
    similarity = member @ member.T + counts[:, None] / 100
    fallback = ByCount(NoSettings(), counts)
    return System(
        manifest=Manifest(1, manifest_id, "2026-01-01T00:00:00Z", "test", {}, {}, {}, {}, {}, {}),
        model=ByNeighbour(NoSettings(), similarity) if additive else ByBackwardCount(NoSettings(), counts[::-1]),
        fallback=fallback,
        items=Vocabulary(ids),
        catalog=Catalog.build(
            item_id=ids,
            title=[film[1] for film in FILMS],
            categories=[film[2] for film in FILMS],
            available=[film[0] != "lost" for film in FILMS],
        ),
        settings=PreparationSettings(),
        rating_scale=(1.0, 5.0),
    )


def films_stores() -> MemoryStores:
    """Two people: ann rates science fiction, 小明 watches romances."""
    stores = MemoryStores()
    stores.events.append(
        Events.build(
            user_id=["ann", "ann", "ann", "小明", "小明"],
            item_id=["alien", "solaris", "totoro", "mood", "amelie"],
            event=["rating", "rating", "impression", "play", "like"],
            value=[5.0, 3.0, np.nan, np.nan, np.nan],
            timestamp=[NOW - 5000, NOW - 4000, NOW - 3000, NOW - 2000, NOW - 1000],
        )
    )
    return stores
