"""Use case: a published system over a store, ready to answer."""

from ipaddress import ip_address
from pathlib import Path

from zhiyin.app.loading import load_system
from zhiyin.app.service import SHARE, LanguageModelSettings, Service
from zhiyin.app.serving.committer import Committer
from zhiyin.core.errors import ConfigError
from zhiyin.encoders.language_model import ChatEndpoint
from zhiyin.storage.opening import open_stores


def open_service(
    store: str,
    artifact: Path,
    judging: LanguageModelSettings | None = None,
    new_items: float = SHARE,
    tenant: str = "default",
    *,
    committing: bool = False,
) -> Service:
    """The service of the current version under `artifact`; to be closed by who asked for it.

    judging: names the language model, if one is to be asked. new_items: as `Service` has it. committing: writes
    of several requests together. Raises `ArtifactError` and
    `StoreError` as loading and opening do, `ConfigError` for a language model that is not MODEL@URL.
    """
    judging = judging or LanguageModelSettings()
    language_model = None if judging.endpoint is None else ChatEndpoint(judging.endpoint)
    system = load_system(artifact)
    stores = open_stores(store, tenant)
    try:
        return Service(
            system,
            stores,
            language_model=language_model,
            judging=judging,
            new_items=new_items,
            committer=Committer(stores) if committing else None,
        )
    except BaseException:
        stores.close()
        raise


def needs_keys(service: Service, host: str) -> bool:
    """Whether a server of this service at `host` asks for keys: wherever there are any.

    Raises `ConfigError` where there are none and others than this machine could reach it.
    """
    if service.access.in_use():
        return True
    if not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from elsewhere and the store has no key: make one with `zhiyin keys create`,"
            " or listen on 127.0.0.1"
        )
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
