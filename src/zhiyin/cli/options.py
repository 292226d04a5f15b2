"""Options that several commands have."""

from typing import Annotated, TypeAlias

import typer

from zhiyin.app.environment import DEVICE, STORE

Store: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar=STORE, help="where events and items are kept: sqlite:///path.db or postgresql://user@host/database"
    ),
]
Tenant: TypeAlias = Annotated[str, typer.Option(help="whose part of the store")]
Device: TypeAlias = Annotated[
    str | None, typer.Option(envvar=DEVICE, help="where networks are trained: cpu, cuda, cuda:1; a GPU if there is one")
]
