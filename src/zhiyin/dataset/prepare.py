"""From the log, the catalogue and the users to a `Dataset`."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import numpy as np

from zhiyin.core.arrays import FloatMatrix, TextVector
from zhiyin.core.catalog import ITEM_COLUMNS, Catalog, Users
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import InputError
from zhiyin.core.events import MISSING_TIME, Events, text
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary
from zhiyin.dataset.cleaning import clean
from zhiyin.dataset.exposures import exposures_of, tells_shown
from zhiyin.dataset.features import item_features, user_features
from zhiyin.dataset.histories import histories_of, rating_scale_of, speaks, weights_of
from zhiyin.dataset.settings import PreparationSettings


def prepare(
    events: Events,
    catalog: Catalog,
    users: Users,
    settings: PreparationSettings,
    encode: Callable[[Catalog], Mapping[str, FloatMatrix]],
    *,
    served: Iterable[Events] = (),
) -> Dataset:
    """A data set over every user and item that, cleaned, meets the minimum counts, and every item of the catalogue.

    served: what lists showed besides what `events` say was shown. Raises `InputError` where no event is left to learn
    from.
    """
    events, removals = clean(events, settings)
    scale = rating_scale_of(events, settings)
    speaking = speaks(events, weights_of(events, settings, scale))
    counted, silent = events.take(speaking), events.take(~speaking)
    known = dict.fromkeys(_frequent(counted.item_id, settings.min_item_events))
    item_vocabulary = Vocabulary(dict.fromkeys([*known, *sorted(set(catalog.item_id) - set(known))]))
    counted = counted.take(item_vocabulary.rows(counted.item_id) != UNKNOWN)
    user_vocabulary = Vocabulary(_frequent(counted.user_id, settings.min_user_events))
    if not len(user_vocabulary):
        raise InputError("no events are left to learn from: import some, lower the minimum counts or clean less")
    aligned = align(catalog, item_vocabulary)
    shown = silent.take(tells_shown(silent, settings))
    histories = histories_of(counted, user_vocabulary, item_vocabulary, settings, scale)
    times = histories.timestamps[histories.timestamps != MISSING_TIME]
    return Dataset(
        users=user_vocabulary,
        items=item_vocabulary,
        histories=histories,
        catalog=aligned,
        user_features=user_features(users, user_vocabulary),
        item_features=item_features(aligned),
        content=encode(aligned),
        rating_scale=scale,
        now=int(times.max()) if len(times) else 0,
        fingerprint=fingerprint(counted, aligned, users, settings),
        history_limit=settings.history_limit,
        removals=removals,
        exposures=exposures_of(chain([shown], served), user_vocabulary, item_vocabulary),
    )


def align(catalog: Catalog, items: Vocabulary) -> Catalog:
    """The catalogue in the order of `items`; an item it does not describe has empty columns and is available."""
    return overlay(Catalog.build(item_id=items.ids.tolist()), catalog)


def overlay(base: Catalog, catalog: Catalog) -> Catalog:
    """The items of `base` in its order, each as `catalog` describes it, or as `base` does where that is silent."""
    described = Vocabulary(catalog.item_id)
    silent = base.take(np.flatnonzero(described.rows(base.item_id) == UNKNOWN))
    parts = (catalog, silent)
    names = dict.fromkeys(name for part in parts for name in part.attributes)
    whole = Catalog(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ITEM_COLUMNS},
        attributes={
            name: np.concatenate([part.attributes.get(name, text([None] * len(part))) for part in parts])
            for name in names
        },
    )
    return whole.take(Vocabulary(whole.item_id).rows(base.item_id))


def fingerprint(events: Events, catalog: Catalog, users: Users, settings: PreparationSettings) -> str:
    """sha256 (hex) over everything that shapes the data set, but what was shown: each list that is served adds to that,
    and is no reason to train anew.
    """
    digest = hashlib.sha256(settings.model_dump_json().encode())
    columns: list[Iterable[object]] = [events.user_id, events.item_id, events.event]
    columns += [catalog.item_id, catalog.title, catalog.description, catalog.categories, catalog.image, catalog.audio]
    columns += [users.user_id]
    for name, values in (*catalog.attributes.items(), *users.attributes.items()):
        columns += [[name], values]
    for column in columns:
        digest.update("\x1f".join(map(str, column)).encode())
        digest.update(b"\x1e")
    for numbers in (events.value, events.timestamp, catalog.price, catalog.available_from, catalog.available):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()


def _frequent(ids: TextVector, minimum: int) -> TextVector:
    values, counts = np.unique(ids.astype(str), return_counts=True)
    kept: TextVector = values[counts >= minimum].astype(object)
    return kept
