"""`zhiyin finetune`: a text encoder that has learned what people take together."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.options import Store, Tenant
from zhiyin.cli.show import Bars, console


def finetune(
    store: Store,
    encoder: Annotated[str, typer.Option(help="the model to begin with: sentence-transformers:FOLDER")],
    out: Annotated[Path, typer.Option(help="folder of the new model, for sentence-transformers:OUT")],
    epochs: Annotated[int, typer.Option(help="passes at most", min=1)] = 3,
    pairs: Annotated[int, typer.Option(help="pairs of items a pass", min=64)] = 10_000,
    seed: int = 0,
    config: Annotated[Path | None, typer.Option(help="TOML with a \\[preparation] table")] = None,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Teach a text encoder with the store's histories; status 1 where it found nothing better than it was."""
    from zhiyin.app.finetune import FineTuneRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.finetune import finetune as run  # noqa: PLC0415
    from zhiyin.app.settings import read_settings  # noqa: PLC0415

    preparation = read_settings(config).preparation
    screen = console(stderr=as_json)
    with Bars(screen) as bars:
        bars.begin(encoder)
        report = run(FineTuneRequest(store, encoder, out, epochs, pairs, seed, preparation, bars, tenant))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        figures = f"held-out items found: {report.before:.4f} before, {report.after:.4f} after (mean reciprocal rank)"
        screen.print(
            f"{report.pairs:,} pairs of {report.texts:,} texts to learn from; {figures}",
            highlight=False,
            soft_wrap=True,
        )
        outcome = f"saved {out}; name it as sentence-transformers:{out}" if report.epoch else "no better: nothing saved"
        screen.print(outcome, highlight=False, soft_wrap=True)
    if not report.epoch:
        raise typer.Exit(1)
