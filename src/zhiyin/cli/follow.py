"""`zhiyin follow`."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.app.follow import STREAMS, FollowRequest
from zhiyin.app.follow import follow as run
from zhiyin.cli.ingest import pair
from zhiyin.cli.options import Store, Tenant


def follow(
    store: Store,
    sources: Annotated[
        list[str], typer.Argument(help="Files of JSON Lines, one event a line; streams, redis://host:6379/0#STREAM.")
    ],
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="KEY=NAME", help="The key KEY is the NAME.")
    ] = None,
    refused: Annotated[
        Path | None, typer.Option(help="Where to list what is refused; beside the store if left out.")
    ] = None,
    tenant: Tenant = "default",
    group: Annotated[
        str | None,
        typer.Option(help="Readers who share the entries of a stream; each store needs its own."),
    ] = None,
) -> None:
    """Import events while they are appended to files or to streams of Redis, each once, until interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    streams = [source for source in sources if source.startswith(STREAMS)]
    files = [Path(source) for source in sources if source not in streams]
    mapped = dict(pair(mapping) for mapping in columns or [])
    report = run(FollowRequest(files, store, streams, mapped, refused, tenant, group), stopping.wait)
    typer.echo(f"{report.read:,} lines: {report.added:,} added, {report.known:,} known, {report.refused:,} refused")
