"""Use case: what is appended to files and to streams goes into a store while it is written."""

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
from zhiyin.events.streams import SCHEMES, FollowedStream
from zhiyin.storage.opening import beside, open_stores

LOG = logging.getLogger(__name__)

STREAMS = SCHEMES
"""How the address of a stream begins."""
EVERY_S = 0.2
"""How often files are looked at that had nothing new."""
LONGEST_PAUSE_S = 30.0
"""Between two tries of a store that does not answer."""


@dataclass(frozen=True)
class FollowRequest:
    """files: of JSON Lines, one event a line; they need not be there yet. streams: of Redis, `redis://host:6379/0#STREAM`.
    group: of the readers that share the entries of a stream, each of which goes to one of them; None is one for the
    tenant. columns: key of a line or an entry -> canonical name.

    refused: the CSV file that lists refused lines and entries; None puts it beside the store.
    """

    files: Sequence[Path]
    store: str
    streams: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    refused: Path | None = None
    tenant: str = "default"
    group: str | None = None


@dataclass(frozen=True)
class FollowReport:
    """read: lines and entries that hold something == added + known + the sums of refused."""

    read: int
    added: int
    known: int
    refused: int


def follow(request: FollowRequest, stopped: Callable[[float], bool]) -> FollowReport:
    """Takes in every line and entry that is appended, once, until it is `stopped`, which waits for so many seconds
    at most.

    Files are read from their beginning, and entries of a stream come again until they are in the store: what it has is
    known by its id. A store that does not answer is tried again until then. Raises `InputError` for a file or a stream
    that cannot be read and for a mapping to no column of events, `ConfigError` without the extra that a stream needs,
    `StoreError` for a store that cannot be opened or, in the end, still does not answer.
    """
    added = known = 0
    with ExitStack() as stack:
        stores = open_stores(request.store, request.tenant)
        stack.callback(stores.close)
        path = request.refused or beside(request.store, "followed-refused.csv")
        log = stack.enter_context(RefusalLog(path, onward=True).open())
        sources: list[FollowedFile | FollowedStream] = []
        for file in request.files:
            sources.append(FollowedFile(file, log, request.columns))
            stack.callback(sources[-1].close)
        for stream in request.streams:
            sources.append(FollowedStream(stream, request.group or f"zhiyin:{request.tenant}", log, request.columns))
            stack.callback(sources[-1].close)
        while True:
            came = False
            for source in sources:
                if (events := source.events()) is not None:
                    report = _appended(stores.events, events, stopped)
                    log.flush()
                    source.settled()
                    added, known, came = added + report.added, known + report.known, True
            if stopped(0.0 if came else EVERY_S):
                return FollowReport(sum(source.read for source in sources), added, known, log.total)


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
