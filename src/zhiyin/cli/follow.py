"""`zhiyin follow`."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.app.follow import FollowRequest
from zhiyin.app.follow import follow as run
from zhiyin.cli.ingest import pair
from zhiyin.cli.options import Store, Tenant


def follow(
    store: Store,
    files: Annotated[list[Path], typer.Argument(help="Files of JSON Lines, one event a line.")],
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="KEY=NAME", help="The lines' key KEY is the NAME.")
    ] = None,
    refused: Annotated[
        Path | None, typer.Option(help="Where to list refused lines; beside the store if left out.")
    ] = None,
    tenant: Tenant = "default",
) -> None:
    """Import events while they are appended to files, each once, until interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    request = FollowRequest(files, store, dict(pair(mapping) for mapping in columns or []), refused, tenant)
    report = run(request, stopping.wait)
    typer.echo(f"{report.read:,} lines: {report.added:,} added, {report.known:,} known, {report.refused:,} refused")
