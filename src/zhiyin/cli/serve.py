"""`zhiyin serve`: the API and the page over a store and a trained system."""

import logging
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiyin.cli.options import Store, Tenant
from zhiyin.core.errors import ConfigError

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
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A site whose pages may ask from a browser; repeat it.")
    ] = None,
    tenant: Tenant = "default",
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate, with its chain, in PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its private key in PEM.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that answer side by side.", min=1, max=256)] = 1,
    requests: Annotated[bool, typer.Option(help="A line of the log for every request.")] = True,
    config: Annotated[Path | None, typer.Option(help="TOML with \\[language_model] and \\[serving] tables.")] = None,
) -> None:
    """Serve recommendations, the API and the page until interrupted."""
    # Imported here so that other commands start without the web stack.
    import uvicorn  # noqa: PLC0415

    from zhiyin.app.serve import needs_keys_at  # noqa: PLC0415
    from zhiyin.app.settings import read_settings, with_serving  # noqa: PLC0415
    from zhiyin.cli.logs import log_as_json  # noqa: PLC0415
    from zhiyin.cli.workers import Worker, serve_with  # noqa: PLC0415
    from zhiyin.web.shedding import SheddingProtocol  # noqa: PLC0415

    level = logging.INFO if requests else logging.WARNING
    log_as_json(level)
    settings = read_settings(config)
    told = {"new_items": new_items, "origins": origin}
    settings = with_serving(settings, {name: value for name, value in told.items() if value is not None})
    if language_model is not None:
        judging = settings.language_model.model_copy(update={"endpoint": language_model})
        settings = replace(settings, language_model=judging)
    if certificate is not None:
        _check_tls(certificate, private_key)
    _check_free(host, port)
    worker = Worker(store, artifact, settings, tenant, needs_keys_at(store, tenant, host), level)
    listening: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": SheddingProtocol,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "limit_concurrency": CONNECTIONS,
        "timeout_graceful_shutdown": DRAIN_S,
        "ssl_certfile": certificate,
        "ssl_keyfile": private_key,
    }
    scheme = "http" if certificate is None else "https"
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    if workers > 1:
        typer.echo(address)
        serve_with(workers, worker, listening)
        return
    answering = worker.application()
    typer.echo(address)
    uvicorn.run(answering, **listening)


def _check_free(host: str, port: int) -> None:
    """Before anything is loaded, or an address is named that another server answers at."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen at {host}, port {port} ({why}): name others with --host and --port"
        ) from error


def _check_tls(certificate: Path, private_key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate} and {private_key or 'its key'} cannot be used for TLS ({error})") from error
