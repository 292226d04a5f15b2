"""zhiyin find"""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zhiyin.cli.options import Store, Tenant


def find(
    text: Annotated[str, typer.Argument(help="what is looked for, in Chinese or English")],
    store: Store,
    artifact: Annotated[Path, typer.Option(help="folder of the trained system")],
    user: Annotated[str | None, typer.Option(help="whose taste counts and whose seen items are left out")] = None,
    k: Annotated[int, typer.Option("-k", help="length of the list")] = 10,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Items by words."""
    from zhiyin.app.serve import open_service  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.service import WordsRequest  # noqa: PLC0415

    with closing(open_service(store, artifact, tenant=tenant)) as service:
        found = service.find(WordsRequest(text, n=k), user)
    if as_json:
        lines = [{"rank": rank, "score": score, **asdict(item)} for rank, (item, score) in enumerate(found, start=1)]
        typer.echo(json.dumps(lines, ensure_ascii=False))
        return
    shown = Table("rank", "item_id", "title", "score")
    for rank, (item, score) in enumerate(found, start=1):
        shown.add_row(str(rank), escape(item.item_id), escape(item.title), f"{score:.4f}")
    Console().print(shown)
