"""Use case: from a store to a data set."""

from collections.abc import Mapping
from pathlib import Path

from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import Dataset
from zhiyin.core.errors import InputError
from zhiyin.core.events import Events
from zhiyin.core.models import Content
from zhiyin.core.stores import Stores
from zhiyin.dataset.prepare import prepare
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders.cache import encode_cached
from zhiyin.storage.opening import open_stores


def prepare_dataset(
    store: str, settings: PreparationSettings, cache: Path | None = None, tenant: str = "default"
) -> Dataset:
    """Everything of `tenant` in `store`, prepared. cache: folder of item vectors kept between runs.

    Raises `StoreError` where there is no store, `InputError` where it holds nothing of the tenant.
    """
    stores = open_stores(store, tenant, new=False)
    try:
        if not stores.events.last_sequence():
            raise InputError(f"the store holds no events of the tenant {tenant!r}: import some, or name another")
        return prepare_stored(stores, settings, cache)
    finally:
        stores.close()


def prepare_stored(stores: Stores, settings: PreparationSettings, cache: Path | None = None) -> Dataset:
    """Everything in `stores`, prepared, as `prepare_dataset` does."""
    events = Events.concat([Events.empty(), *stores.events.read()])
    catalog, users = stores.catalog.read(), stores.users.read()
    return prepare(
        events,
        catalog,
        users,
        settings,
        lambda aligned: _encode(aligned, settings, cache),
        served=stores.impressions.every(),
    )


def people_of(store: str, tenant: str = "default") -> Users:
    """What the users of `tenant` in `store` told of themselves."""
    stores = open_stores(store, tenant)
    try:
        return stores.users.read()
    finally:
        stores.close()


def contents_of(catalog: Catalog) -> list[Content]:
    """What encoders read of each item."""
    columns = (catalog.texts(), catalog.image, catalog.audio, catalog.lines(), catalog.item_id)
    return [Content(*column) for column in zip(*columns, strict=True)]


def _encode(catalog: Catalog, settings: PreparationSettings, cache: Path | None) -> Mapping[str, FloatMatrix]:
    """Encoder name -> vectors, of those encoders that find something to read."""
    contents = contents_of(catalog)
    encoders = {name: make_encoder(name) for name in settings.encoders}
    return {
        name: encode_cached(encoder, contents, cache)
        for name, encoder in encoders.items()
        if any(getattr(content, modality) for content in contents for modality in encoder.modalities)
    }
