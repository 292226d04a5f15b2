"""A server goes over to what is published while it answers, and back where that cannot serve."""

import logging
import threading
from pathlib import Path

import numpy as np

from zhiyin.app.loading import load_version
from zhiyin.app.serving.state import ServingSlot
from zhiyin.app.system import System
from zhiyin.artifacts.folder import current, versions
from zhiyin.core.dataset import Query
from zhiyin.core.errors import ArtifactError
from zhiyin.core.histories import History
from zhiyin.core.models import AdditiveModel
from zhiyin.core.scored import scored

LOG = logging.getLogger(__name__)

EVERY_S = 1.0
"""How often a server looks whether something was published."""

PROBED = 3
"""Items of the history that a version is tried with."""


def checked(system: System) -> System:
    """The system as it is. Raises `ArtifactError` where it does not answer a history, or none, with finite scores."""
    items = len(system.items)
    asked = [Query(History.of_items([]), 0), Query(History.of_items(list(range(min(PROBED, items)))), 0)]
    for model in (system.fallback, system.model):
        try:
            told = scored(model, asked)
            if isinstance(model, AdditiveModel):
                # What it explains with is made before anybody waits for it.
                told.contributions(1, asked[1].history.items)
        except Exception as error:
            raise ArtifactError(f"{system.manifest.manifest_id}: cannot answer ({error}); train again") from error
        scores = told.scores
        if scores.shape != (len(asked), items) or not items or not np.isfinite(scores).all():
            raise ArtifactError(f"{system.manifest.manifest_id}: answers with no finite scores; train again")
    return system


def latest_that_serves(artifact: Path) -> tuple[System | None, list[ArtifactError]]:
    """The current version, or the latest one before it that can serve; and what the others lack."""
    found: list[ArtifactError] = []
    for version in versions(artifact):
        try:
            return checked(load_version(version)), found
        except ArtifactError as error:
            found.append(error)
    return None, found


class Follower:
    """Puts into the slot what becomes current in a folder, once it is known to serve; else what served before goes on.

    To be closed.
    """

    def __init__(self, slot: ServingSlot, artifact: Path) -> None:
        self._slot = slot
        self._artifact = artifact
        self._refused: Path | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="zhiyin-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Goes over to the version that is current now, where that serves.

        Raises what reading the shop raises; the next look tries again.
        """
        try:
            version = current(self._artifact)
        except ArtifactError:
            return
        if version.name == self._slot.state.system.manifest.manifest_id:
            self._slot.refused = None
            return
        if version == self._refused:
            return
        try:
            system = checked(load_version(version))
        except ArtifactError as error:
            self._refused, self._slot.refused = version, str(error)
            LOG.error("what was published cannot serve, what served before goes on: %s", error)
            return
        self._slot.replace(system)
        self._slot.refused = None
        LOG.info("serving %s", version.name)

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            try:
                self.look()
            except Exception:
                LOG.exception("what was published could not be looked at")
