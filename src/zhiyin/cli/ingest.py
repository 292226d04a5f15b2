"""`zhiyin ingest`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zhiyin.app.ingest import IngestReport, IngestRequest
from zhiyin.app.ingest import ingest as run
from zhiyin.cli.options import Store, Tenant
from zhiyin.core.errors import InputError


def ingest(
    store: Store,
    events: Annotated[list[str] | None, typer.Argument(help="Files of events; - is standard input.")] = None,
    catalogue: Annotated[str | None, typer.Option(help="A file of items.")] = None,
    users: Annotated[str | None, typer.Option(help="A file of users.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="COL=NAME", help="The file's column COL is the NAME.")
    ] = None,
    clean: Annotated[
        list[str] | None, typer.Option(metavar="STEP", help="A cleaning step, or the preset 'retail'.")
    ] = None,
    refused: Annotated[
        Path | None, typer.Option(help="Where to list refused rows; beside the store if left out.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if any row is refused.")] = False,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Import events, a catalogue and users. Importing the same file twice changes nothing."""
    report = run(
        IngestRequest(
            events=events or [],
            store=store,
            catalogue=catalogue,
            users=users,
            columns=dict(pair(mapping) for mapping in columns or []),
            strict=strict,
            clean=clean or [],
            refused=refused,
            tenant=tenant,
        )
    )
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False, default=str))
    else:
        _show(report, Console(markup=False, emoji=False))


def pair(mapping: str) -> tuple[str, str]:
    """Of COLUMN=NAME. Raises `InputError` for anything else."""
    column, sign, name = mapping.rpartition("=")
    if not sign or not column or not name:
        raise InputError(f"--map {mapping}: write it as COLUMN=NAME, for example --map buyer=user_id")
    return column, name


def _show(report: IngestReport, console: Console) -> None:
    for file in report.files:
        table = Table(show_header=False)
        table.add_column("what")
        table.add_column("rows", justify="right")
        rows = [("read", file.read)]
        rows += [(f"refused: {reason}", n) for reason, n in file.refused.items()]
        rows += [(f"removed: {step}", n) for step, n in file.removed.items()]
        for what, n in (*rows, ("known already", file.known), ("added", file.added)):
            table.add_row(what, f"{n:,}")
        console.print(file.file, soft_wrap=True, highlight=False)
        console.print(table)
    for name, count in (("catalogue", report.catalogue), ("users", report.users)):
        if count is not None:
            console.print(f"{name}: {count:,} rows read")
    for reason, count in report.refused_elsewhere.items():
        console.print(f"refused in catalogue or users: {reason}: {count:,}")
    if report.titled:
        console.print(f"items named by titles in the events: {report.titled:,}")
    if report.refusals is not None:
        console.print(f"refused rows are listed in {report.refusals}", soft_wrap=True)
    for name in report.repeated:
        console.print(f"{name} is named more than once and was imported once", soft_wrap=True)
    for column in report.unused:
        console.print(f"no file has the mapped column {column!r}")
