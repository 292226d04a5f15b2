"""`zhiyin keys`: who may ask a server."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from zhiyin.cli.options import Store, Tenant
from zhiyin.cli.show import console
from zhiyin.core.errors import NotFoundError
from zhiyin.core.histories import DAY
from zhiyin.core.stores import Key

keys = typer.Typer(no_args_is_help=True, help="Keys that open a server: made, listed and revoked.")


@keys.command()
def create(
    store: Store,
    scope: Annotated[list[str], typer.Option(help="read, ingest or admin; may be given more than once.")],
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="How long it is good; until it is revoked if left out.")
    ] = None,
    tenant: Tenant = "default",
) -> None:
    """Make a key and print it. It is told this once: the store keeps a digest of it."""
    from zhiyin.app.access import opened_access  # noqa: PLC0415  keeps the stores out of the other commands

    with opened_access(store, tenant) as access:
        written, _ = access.create(scope, note, None if days is None else days * DAY)
    typer.echo(written)


@keys.command("list")
def every(
    store: Store,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which keys there are."""
    from zhiyin.app.access import opened_access  # noqa: PLC0415  keeps the stores out of the other commands

    with opened_access(store, tenant) as access:
        found = access.every()
    if as_json:
        typer.echo(json.dumps([asdict(key) for key in found], ensure_ascii=False))
        return
    table = Table("key", "opens", "note", "made", "good until")
    for key in found:
        table.add_row(key.key_id, ", ".join(key.scopes), key.note, _day(key.created), _end(key))
    console().print(table)


@keys.command()
def revoke(
    store: Store, key: Annotated[str, typer.Argument(help="As the list shows it.")], tenant: Tenant = "default"
) -> None:
    """Close what a key opens; servers refuse it within seconds."""
    from zhiyin.app.access import opened_access  # noqa: PLC0415  keeps the stores out of the other commands

    with opened_access(store, tenant) as access:
        if not access.revoke(key):
            raise NotFoundError(f"no key {key!r} that opens anything; see `zhiyin keys list`")
    typer.echo(f"revoked {key}")


def _end(key: Key) -> str:
    return "revoked" if key.revoked else "-" if key.expires is None else _day(key.expires)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
