"""`zhiyin enrich`: descriptions for items that have none."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.app.enrich import EnrichRequest
from zhiyin.app.enrich import enrich as run
from zhiyin.cli.options import Store, Tenant


def enrich(
    store: Store,
    language_model: Annotated[
        str, typer.Option(metavar="MODEL@URL", help="An OpenAI-compatible server, key in LANGUAGE_MODEL_API_KEY.")
    ],
    limit: Annotated[int | None, typer.Option(help="Ask about so many items at most.", min=0)] = None,
    kept: Annotated[
        Path | None, typer.Option(help="The file of generated texts; beside the store if left out.")
    ] = None,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Let a language model describe items without a description, marked as generated. Nothing is asked twice."""
    report = run(EnrichRequest(store, language_model, limit, kept, tenant=tenant))
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False, default=str))
        return
    typer.echo(f"items without a description: {report.thin:,}")
    typer.echo(
        f"asked about: {report.asked:,} (unusable answers: {report.unusable:,}), already known: {report.known:,}"
    )
    typer.echo(f"descriptions written: {report.written:,}; all are kept in {report.kept}")
