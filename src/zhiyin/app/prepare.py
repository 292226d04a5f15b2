"""Use case: from a store to a data set."""

from collections.abc import Mapping
from pathlib import Path

from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset
from zhiyin.core.events import Events
from zhiyin.core.models import Content
from zhiyin.dataset.prepare import prepare
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.encoders.cache import encode_cached
from zhiyin.storage.opening import open_stores


def prepare_dataset(store: str, settings: PreparationSettings, cache: Path | None = None) -> Dataset:
    """Everything in `store`, prepared. cache: folder of item vectors kept between runs."""
    stores = open_stores(store)
    try:
        events = Events.concat(stores.events.read())
        catalog, users = stores.catalog.read(), stores.users.read()
    finally:
        stores.close()
    return prepare(events, catalog, users, settings, lambda aligned: _encode(aligned, settings, cache))


def _encode(catalog: Catalog, settings: PreparationSettings, cache: Path | None) -> Mapping[str, FloatMatrix]:
    contents = [_content(*row) for row in zip(catalog.title, catalog.description, catalog.categories, strict=True)]
    if settings.encoder is None or not any(content.text for content in contents):
        return {}
    return {settings.encoder: encode_cached(make_encoder(settings.encoder), contents, cache)}


def _content(title: str | None, description: str | None, categories: tuple[str, ...]) -> Content:
    parts = [part for part in (title, ", ".join(categories), description) if part]
    return Content(text=". ".join(parts) or None)
