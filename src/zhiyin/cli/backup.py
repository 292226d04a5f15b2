"""`zhiyin backup` and `zhiyin restore`: everything in one file, and back from it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zhiyin.cli.options import Store

if TYPE_CHECKING:
    from zhiyin.app.backup import BackupReport


def backup(
    store: Store,
    out: Annotated[Path, typer.Option(help="the file to be written")],
    artifact: Annotated[Path | None, typer.Option(help="folder of the trained system")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write all tenants of a store, and a trained system, to one file; a server may go on meanwhile."""
    from zhiyin.app.backup import back_up  # noqa: PLC0415  keeps the stores out of the other commands

    _tell(back_up(store, out, artifact), as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="what `zhiyin backup` wrote")],
    store: Store,
    artifact: Annotated[Path | None, typer.Option(help="folder to make for the trained system")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Put a backup into a store that is empty, in either kind of database."""
    from zhiyin.app.backup import restore as run  # noqa: PLC0415  keeps the stores out of the other commands

    _tell(run(file, store, artifact), as_json=as_json)


def _tell(report: "BackupReport", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    for name, rows in report.rows.items():
        typer.echo(f"{name}: {rows:,}")
    typer.echo(f"files of the trained system: {report.files:,}; {report.bytes / 1e6:,.1f} MB")
