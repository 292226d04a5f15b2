"""Use case: a published system over a store, ready to answer."""

from pathlib import Path

from zhiyin.app.loading import load_system
from zhiyin.app.service import Service
from zhiyin.storage.opening import open_stores


def open_service(store: str, artifact: Path) -> Service:
    """The service of the current version under `artifact`; to be closed by who asked for it.

    Raises `ArtifactError` and `StoreError` as loading and opening do.
    """
    system = load_system(artifact)
    stores = open_stores(store)
    try:
        return Service(system, stores)
    except BaseException:
        stores.close()
        raise
