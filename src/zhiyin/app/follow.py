"""Use case: what is appended to files goes into a store while it is written."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from zhiyin.core.errors import BrokenRowError, StoreError
from zhiyin.core.events import Events
from zhiyin.core.stores import AppendReport, EventStore
from zhiyin.events.lines import FollowedFile
from zhiyin.events.refusals import RefusalLog
from zhiyin.storage.opening import beside, open_stores

LOG = logging.getLogger(__name__)

EVERY_S = 0.2
"""How often files are looked at that had nothing new."""
LONGEST_PAUSE_S = 30.0
"""Between two tries of a store that does not answer."""


@dataclass(frozen=True)
class FollowRequest:
    """files: of JSON Lines, one event a line; they need not be there yet. columns: key of a line -> canonical name.

    refused: the CSV file that lists refused lines; None puts it beside the store.
    """

    files: Sequence[Path]
    store: str
    columns: Mapping[str, str] = field(default_factory=dict)
    refused: Path | None = None
    tenant: str = "default"


@dataclass(frozen=True)
class FollowReport:
    """read: lines that hold something == added + known + the sums of refused."""

    read: int
    added: int
    known: int
    refused: int


def follow(request: FollowRequest, stopped: Callable[[float], bool]) -> FollowReport:
    """Takes in every line that is appended, once, until it is `stopped`, which waits for so many seconds at most.

    Files are read from their beginning: what the store has is known by its id. A store that does not answer is tried
    again until then. Raises `InputError` for a file that cannot be read and for a mapping to no column of events,
    `StoreError` for a store that cannot be opened or, in the end, still does not answer.
    """
    added = known = 0
    with ExitStack() as stack:
        stores = open_stores(request.store, request.tenant)
        stack.callback(stores.close)
        path = request.refused or beside(request.store, "followed-refused.csv")
        log = stack.enter_context(RefusalLog(path, onward=True).open())
        files = [FollowedFile(file, log, request.columns) for file in request.files]
        for file in files:
            stack.callback(file.close)
        while True:
            came = False
            for file in files:
                if (events := file.events()) is not None:
                    report = _appended(stores.events, events, stopped)
                    added, known, came = added + report.added, known + report.known, True
            log.flush()
            if stopped(0.0 if came else EVERY_S):
                return FollowReport(sum(file.read for file in files), added, known, log.total)


def _appended(log: EventStore, events: Events, stopped: Callable[[float], bool]) -> AppendReport:
    pause = EVERY_S
    while True:
        try:
            return log.append(events)
        except BrokenRowError:
            raise
        except StoreError as error:
            LOG.error("the store does not answer, %d events wait: %s", len(events), error)
            if stopped(pause):
                raise
            pause = min(2 * pause, LONGEST_PAUSE_S)
