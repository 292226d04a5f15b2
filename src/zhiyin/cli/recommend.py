"""zhiyin recommend"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zhiyin.cli.options import Store, Tenant
from zhiyin.core.errors import InputError


def recommend(
    store: Store,
    artifact: Annotated[Path, typer.Option(help="folder of the trained system")],
    user: Annotated[str | None, typer.Option(help="one user")] = None,
    users: Annotated[Path | None, typer.Option(help="file of users: one a line, or a column user_id")] = None,
    k: Annotated[int, typer.Option("-k", help="length of each list")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="write user_id, item_id, rank, score here (.parquet or .csv)")
    ] = None,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="items of the history may come again")] = False,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Top lists of one user or of many."""
    from zhiyin.app.recommend import (  # noqa: PLC0415
        BatchRequest,
        check_target,
        read_users,
        recommend_batch,
        write_lists,
    )

    if (user is None) == (users is None):
        raise InputError("name either --user ID or --users FILE")
    if out is not None:
        check_target(out)
    wanted = [user] if user is not None else read_users(users) if users is not None else []
    lists = recommend_batch(BatchRequest(store, artifact, wanted, k, keep_seen, tenant))
    if out is not None:
        write_lists(lists, out)
        return
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in lists], ensure_ascii=False))
        return
    shown = Table("user_id", "rank", "item_id", "score", "rung")
    for each in lists:
        for item in each.items:
            shown.add_row(each.user_id, str(item.rank), item.item_id, f"{item.score:.4f}", each.rung)
    Console().print(shown)
