"""Several processes that answer at one address, over one store and one trained system."""

import gc
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from zhiyin.app.serve import open_server
from zhiyin.app.settings import Settings
from zhiyin.cli.logs import log_as_json
from zhiyin.cli.memory import keep_memory
from zhiyin.cli.parent import end_with_parent
from zhiyin.core.errors import ConfigError, ZhiyinError
from zhiyin.web.application import create_app
from zhiyin.web.metrics import SHARED

LOG = logging.getLogger(__name__)

HANDOVER_S = 0.001
"""After which who makes lists hands the interpreter to who reads requests: these give it away whenever they wait for a
socket, and would have to wait five times as long every time."""
HEALTH_SECONDS = 30
"""How long a worker may be too busy to say that it lives."""


@dataclass(frozen=True)
class Worker:
    """What each process serves: it is sent there, and opens all that it needs by itself."""

    store: str
    artifact: Path
    settings: Settings
    tenant: str
    keyed: bool
    log_level: int

    def __call__(self) -> FastAPI:
        """In a process of its own."""
        end_with_parent()
        try:
            return self.application()
        except ZhiyinError as error:
            LOG.error("%s", error)
            # By this the others are not begun again and again.
            sys.exit(STARTUP_FAILURE)

    def application(self) -> FastAPI:
        """Raises `StoreError` and `ConfigError` as opening the server does."""
        log_as_json(self.log_level)
        # Requests and workers run side by side; more threads inside each would only contend for the same cores.
        torch.set_num_threads(1)
        sys.setswitchinterval(HANDOVER_S)
        keep_memory()
        server = open_server(self.store, self.artifact, self.settings, self.tenant)

        @asynccontextmanager
        async def closing(_: FastAPI) -> AsyncIterator[None]:
            # What is there by now stays: looking through all of it for garbage holds every request up for 200 ms.
            gc.collect()
            gc.freeze()
            yield
            await run_in_threadpool(server.close)

        origins = self.settings.serving.origins
        return create_app(server.service, keyed=self.keyed, origins=origins, lifespan=closing)


def serve_with(workers: int, worker: Worker, listening: dict[str, Any]) -> None:
    """Until interrupted; a worker that dies is replaced. listening: settings of the server. Raises `ConfigError` where
    they cannot begin.
    """
    with tempfile.TemporaryDirectory(prefix="zhiyin-measures-") as folder:
        os.environ[SHARED] = folder
        config = uvicorn.Config(
            worker, factory=True, workers=workers, timeout_worker_healthcheck=HEALTH_SECONDS, **listening
        )
        watching = Multiprocess(config, [config.bind_socket()])
        watching.run()
    if any(each.exitcode == STARTUP_FAILURE for each in watching.processes):
        raise ConfigError("the workers cannot begin: their log above says why")
