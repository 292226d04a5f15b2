"""Files into a store."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import InputError, StoreError
from zhiyin.events.catalogue import read_catalog, read_users
from zhiyin.events.cleaning import steps
from zhiyin.events.reading import EventFile
from zhiyin.events.refusals import RefusalLog
from zhiyin.events.sources import check_there, source_name
from zhiyin.storage.opening import DatabaseStores, beside, open_stores

_BATCHES_A_COMMIT = 10
"""Pages of the indexes are written once a commit, so a few large ones are much faster than many small ones."""


@dataclass(frozen=True)
class IngestRequest:
    """events: paths, "-" for standard input. columns: column of a file -> canonical name.

    strict: one refused row, and nothing is written. clean: names of cleaning steps or presets ("retail").
    refused: the CSV file that lists refused rows; None puts it beside the store.
    """

    events: Sequence[str | Path]
    store: str
    catalogue: str | Path | None = None
    users: str | Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False
    clean: Sequence[str] = ()
    refused: Path | None = None
    tenant: str = "default"


@dataclass(frozen=True)
class FileReport:
    """One file of events: read == added + known + the sums of refused and of removed."""

    file: str
    read: int
    added: int
    known: int
    refused: Mapping[str, int]
    removed: Mapping[str, int]


@dataclass(frozen=True)
class IngestReport:
    """catalogue, users: rows read, None where no file was given. titled: items whose title came from the events.

    refused_elsewhere: refusals by reason in the files of items and users. refusals: where all are listed, if there
    were any. unused: columns of the mapping that no file has. repeated: files of events that were named again.
    """

    files: Sequence[FileReport]
    catalogue: int | None
    users: int | None
    titled: int
    refused_elsewhere: Mapping[str, int]
    refusals: Path | None
    unused: Sequence[str]
    repeated: Sequence[str]


def ingest(request: IngestRequest) -> IngestReport:
    """Reads the files of `request` into its store; a second time, nothing changes.

    Raises `InputError` for a file that cannot be read or, when strict, for any refused row, `ConfigError` for an
    unknown cleaning step, `StoreError` for a store that cannot be written.
    """
    cleaning = steps(request.clean)
    if not request.events and request.catalogue is None and request.users is None:
        raise InputError("nothing to import: name a file of events, a catalogue or a file of users")
    if [str(source) for source in request.events].count("-") > 1:
        raise InputError("standard input can be read once; name '-' once")
    check_there((*request.events, request.catalogue, request.users))
    path = _path_of_refused(request)
    with ExitStack() as stack:
        stores = open_stores(request.store, request.tenant)
        stack.callback(stores.close)
        log = stack.enter_context(RefusalLog(path).open())
        if request.strict:
            stack.enter_context(stores.bulk())
        sources, repeated = _each_once(request.events)
        files = [EventFile(source, log, request.columns, cleaning) for source in sources]
        catalogue = users = None
        if request.catalogue is not None:
            catalog, catalogue = read_catalog(request.catalogue, log, request.columns)
            stores.catalog.upsert(catalog)
        if request.users is not None:
            people, users = read_users(request.users, log, request.columns)
            stores.users.upsert(people)
        reports = [_append(file, stores, lasting=not request.strict) for file in files]
        titled = _add_titles(files, stores)
        if request.strict and log.total:
            raise InputError(
                f"{log.total} rows refused ({_counted(log)}), listed in {path}; nothing was imported:"
                " correct them or leave out --strict"
            )
        known = {name for file in files for name in file.headers}
        elsewhere = [source_name(source) for source in (request.catalogue, request.users) if source is not None]
        return IngestReport(
            files=reports,
            catalogue=catalogue,
            users=users,
            titled=titled,
            refused_elsewhere={why: n for name in elsewhere for why, n in log.counts.get(name, {}).items()},
            refusals=log.written,
            unused=[name for name in request.columns if name not in known and not elsewhere],
            repeated=repeated,
        )


def _path_of_refused(request: IngestRequest) -> Path:
    """Where refused rows are listed: never over the store or a file that is read."""
    store = request.store.removeprefix("sqlite:///")
    path = request.refused or beside(request.store, "refused.csv")
    for used in (store, *request.events, request.catalogue, request.users):
        if used is not None and os.path.realpath(used) == os.path.realpath(path):
            raise InputError(f"refused rows would be listed in {path}, which this import uses: name another file")
    return path


def _each_once(sources: Sequence[str | Path]) -> tuple[list[str | Path], list[str]]:
    """The files, and the names under which one of them came again."""
    found: dict[str, str | Path] = {}
    repeated = []
    for source in sources:
        path = "-" if str(source) == "-" else os.path.realpath(source)
        if path in found:
            repeated.append(source_name(source))
        found.setdefault(path, source)
    return list(found.values()), repeated


def _append(file: EventFile, stores: DatabaseStores, *, lasting: bool) -> FileReport:
    """lasting: what was written before an error stays."""
    added = known = kept = 0
    # Standard input may pause, and while a commit waits for more nobody else can write to the store.
    further = 0 if str(file.source) == "-" else _BATCHES_A_COMMIT - 1
    try:
        with closing(iter(file)) as batches:
            for first in batches:
                with stores.bulk():
                    for batch in chain((first,), islice(batches, further)):
                        report = stores.events.append(batch)
                        added += report.added
                        known += report.known
                kept = added
    except (InputError, StoreError) as error:
        if not (lasting and kept):
            raise
        rest = f"{kept:,} events of {file.name} are in the store; importing it again adds the rest"
        raise type(error)(f"{error}. {rest}") from error
    refused = dict(sorted(file.log.counts.get(file.name, {}).items()))
    return FileReport(file.name, file.read, added, known, refused, dict(file.removed))


def _add_titles(files: Sequence[EventFile], stores: DatabaseStores) -> int:
    """Titles met in events make items, but never replace what a catalogue says of one."""
    titles = {item: title for file in reversed(files) for item, title in file.titles.items()}
    if titles:
        for item in stores.catalog.read().item_id:
            titles.pop(item, None)
    if titles:
        stores.catalog.upsert(Catalog.build(item_id=list(titles), title=list(titles.values())))
    return len(titles)


def _counted(log: RefusalLog) -> str:
    reasons = sorted({reason for counts in log.counts.values() for reason in counts})
    return ", ".join(f"{reason}: {sum(counts[reason] for counts in log.counts.values())}" for reason in reasons)
