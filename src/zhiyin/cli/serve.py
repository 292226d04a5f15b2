"""`zhiyin serve`: the API and the page over a store and a trained system."""

import gc
import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.options import Store, Tenant

CONNECTIONS = 1_000
"""Clients at a time, most of whom say nothing."""
DRAIN_S = 30
"""How long a server that is told to stop goes on with what it was asked."""


def serve(
    store: Store,
    artifact: Annotated[Path, typer.Option(help="Folder that `zhiyin train` wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    language_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL@URL", help="Judges lists and describes tastes; its key in LANGUAGE_MODEL_API_KEY."),
    ] = None,
    new_items: Annotated[
        float | None,
        typer.Option(help="Share of the places of a list for items that training has not seen.", min=0, max=1),
    ] = None,
    tenant: Tenant = "default",
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate, with its chain, in PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its private key in PEM.")] = None,
    requests: Annotated[bool, typer.Option(help="A line of the log for every request.")] = True,
    config: Annotated[Path | None, typer.Option(help="TOML with \\[language_model] and \\[serving] tables.")] = None,
) -> None:
    """Serve recommendations, the API and the page until interrupted."""
    # Imported here so that other commands start without the web stack.
    import torch  # noqa: PLC0415
    import uvicorn  # noqa: PLC0415

    from zhiyin.app.serve import needs_keys, open_server  # noqa: PLC0415
    from zhiyin.app.settings import read_settings  # noqa: PLC0415
    from zhiyin.cli.logs import log_as_json  # noqa: PLC0415
    from zhiyin.web.application import create_app  # noqa: PLC0415

    log_as_json(logging.INFO if requests else logging.WARNING)
    settings = read_settings(config)
    if new_items is not None:
        settings = replace(settings, serving=settings.serving.model_copy(update={"new_items": new_items}))
    if language_model is not None:
        judging = settings.language_model.model_copy(update={"endpoint": language_model})
        settings = replace(settings, language_model=judging)
    # Requests run side by side in a pool; more threads inside each would only contend for the same cores.
    torch.set_num_threads(1)
    with closing(open_server(store, artifact, settings, tenant)) as server:
        keyed = needs_keys(server.service, host)
        scheme = "http" if certificate is None else "https"
        typer.echo(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/")
        # What is there by now stays: looking through all of it for garbage holds every request up for 200 ms.
        gc.collect()
        gc.freeze()
        uvicorn.run(
            create_app(server.service, keyed=keyed),
            host=host,
            port=port,
            # Of the two that the server may find, the one that bounds how long the headers of a request are.
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=DRAIN_S,
            ssl_certfile=certificate,
            ssl_keyfile=private_key,
        )
