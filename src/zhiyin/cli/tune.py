"""`zhiyin tune`: better settings of one model, by validation."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.options import Device, Store, Tenant
from zhiyin.cli.show import Bars, console


def tune(
    store: Store,
    model: Annotated[str, typer.Option(help="the model whose settings are searched")],
    out: Annotated[Path, typer.Option(help="folder of the search; called again, it goes on")],
    minutes: Annotated[float, typer.Option(help="after which no trial begins", min=0)] = 10.0,
    trials: Annotated[int | None, typer.Option(help="at most so many of them", min=1)] = None,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON with a \\[preparation] table")] = None,
    seed: int = 0,
    device: Device = None,
    tenant: Tenant = "default",
    validation: Annotated[str, typer.Option(help="next, time, leave-one-out or random")] = "next",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Search the settings of a model on validation data, for `zhiyin train --config`."""
    from zhiyin.app.settings import read_settings  # noqa: PLC0415
    from zhiyin.app.tune import TuneRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.tune import tune as run  # noqa: PLC0415

    preparation = read_settings(config).preparation
    screen = console(stderr=as_json)
    with Bars(screen) as bars:
        report = run(
            TuneRequest(
                store=store,
                model=model,
                out=out,
                minutes=minutes,
                trials=trials,
                preparation=preparation,
                validation=validation,
                seed=seed,
                device=device,
                tenant=tenant,
                progress=bars,
                announce=bars.begin,
            )
        )
    if as_json:
        typer.echo(json.dumps({**asdict(report), "path": str(report.path)}, ensure_ascii=False))
        return
    told = f"NDCG@10 on validation {report.figure:.4f}, by defaults {report.defaults:.4f}; {report.finished} trials"
    screen.print(told, highlight=False, soft_wrap=True)
    screen.print(f"zhiyin train --model {model} --config {report.path} ...", highlight=False, soft_wrap=True)
