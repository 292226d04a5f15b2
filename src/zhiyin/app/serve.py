"""Use case: a published system over a store, ready to answer."""

import logging
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from zhiyin.app.access import Access
from zhiyin.app.clock import now_ms
from zhiyin.app.loading import load_system
from zhiyin.app.service import SHARE, LanguageModelSettings, Service
from zhiyin.app.serving.committer import Committer
from zhiyin.app.serving.following import Follower, latest_that_serves
from zhiyin.app.settings import Settings
from zhiyin.app.standby import standby_system
from zhiyin.core.errors import ConfigError
from zhiyin.encoders.language_model import ChatEndpoint
from zhiyin.storage.opening import open_stores

LOG = logging.getLogger(__name__)


def open_service(
    store: str,
    artifact: Path,
    judging: LanguageModelSettings | None = None,
    new_items: float = SHARE,
    tenant: str = "default",
) -> Service:
    """The service of the current version under `artifact`; to be closed by who asked for it.

    judging: names the language model, if one is to be asked. new_items: as `Service` has it. Raises `ArtifactError` and
    `StoreError` as loading and opening do, `ConfigError` for a language model that is not MODEL@URL.
    """
    judging = judging or LanguageModelSettings()
    language_model = _language_model(judging)
    system = load_system(artifact)
    stores = open_stores(store, tenant, new=False)
    try:
        return Service(system, stores, language_model=language_model, judging=judging, new_items=new_items)
    except BaseException:
        stores.close()
        raise


@dataclass(frozen=True)
class Server:
    """A service that goes on: it follows what is published, and writes for many requests at a time."""

    service: Service
    follower: Follower

    def close(self) -> None:
        self.follower.close()
        self.service.close()


def open_server(store: str, artifact: Path, settings: Settings | None = None, tenant: str = "default") -> Server:
    """Of the latest version under `artifact` that can serve, or of what is popular in the store where none can; to be
    closed by who asked for it.

    Raises `StoreError` as opening does, `ConfigError` for a language model that is not MODEL@URL.
    """
    settings = settings or Settings()
    judging = settings.language_model
    language_model = _language_model(judging)
    stores = open_stores(store, tenant)
    try:
        system, problems = latest_that_serves(artifact)
        for problem in problems:
            LOG.error("%s", problem)
        if system is None:
            LOG.error("no trained system in %s can serve: what is popular is served in its place", artifact)
            system = standby_system(stores)
        service = Service(
            system,
            stores,
            language_model=language_model,
            judging=judging,
            new_items=settings.serving.new_items,
            committer=Committer(stores),
        )
    except BaseException:
        stores.close()
        raise
    follower = Follower(service.slot, artifact)
    follower.start()
    return Server(service, follower)


def _language_model(judging: LanguageModelSettings) -> ChatEndpoint | None:
    return None if judging.endpoint is None else ChatEndpoint(judging.endpoint)


def needs_keys_at(store: str, tenant: str, host: str) -> bool:
    """As `needs_keys`, of the tenant's store. Raises `StoreError` besides, as opening does."""
    with closing(open_stores(store, tenant)) as stores:
        return needs_keys(Access(stores.keys, now_ms), host)


def needs_keys(access: Access, host: str) -> bool:
    """Whether a server at `host` asks for keys: wherever there are any.

    Raises `ConfigError` where there are none and others than this machine could reach it.
    """
    if access.in_use():
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
