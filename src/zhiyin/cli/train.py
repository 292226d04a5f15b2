"""zhiyin train"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from zhiyin.cli.options import Device, Store, Tenant
from zhiyin.cli.show import Bars, choice, cleaned, console, leaderboard

if TYPE_CHECKING:
    from zhiyin.app.train import TrainReport


def train(
    store: Store,
    out: Annotated[Path, typer.Option(help="folder of the trained system")],
    model: Annotated[str | None, typer.Option(help="one model; without it all are tried, and a blend of them")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with \\[preparation] and \\[model] tables")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="time for all of it; 60 for all models, for one as long as it takes")
    ] = None,
    seed: int = 0,
    device: Device = None,
    tenant: Tenant = "default",
    validation: Annotated[str, typer.Option(help="next, time, leave-one-out or random")] = "next",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Choose on validation data, test the choice, refit it on everything, publish."""
    from zhiyin.app.settings import read_settings  # noqa: PLC0415
    from zhiyin.app.train import MINUTES, TrainRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.train import train as run  # noqa: PLC0415

    screen = console(stderr=as_json)
    settings = read_settings(config)
    with Bars(screen) as bars:
        report = run(
            TrainRequest(
                store=store,
                out=out,
                model=model,
                settings=settings.model,
                preparation=settings.preparation,
                validation=validation,
                minutes=MINUTES if minutes is None and model is None else minutes,
                seed=seed,
                device=device,
                tenant=tenant,
                progress=bars,
                announce=bars.begin,
            )
        )
    cleaned(report.removals)
    if as_json:
        typer.echo(json.dumps(_as_json(report), ensure_ascii=False))
        return
    show(report, screen, out, chosen=model is None)


def show(report: "TrainReport", screen: Console, out: Path, *, chosen: bool) -> None:
    """chosen: whether among several models."""
    leaderboard(report.board, screen)
    for note in report.notes:
        screen.print(note, style="yellow", soft_wrap=True)
    if chosen:
        choice(report.board, screen)
    screen.print(f"published {report.chosen.model} as {report.manifest.manifest_id} in {out}", soft_wrap=True)
    screen.print(f"report: {report.page}", soft_wrap=True)


def _as_json(report: "TrainReport") -> dict[str, Any]:
    return {
        "manifest_id": report.manifest.manifest_id,
        "model": report.chosen.model,
        "config": report.chosen.config,
        "users": report.users,
        "items": report.items,
        "events": report.events,
        "removals": [asdict(removal) for removal in report.removals],
        "notes": report.notes,
        "report": str(report.page),
        "leaderboard": json.loads(report.board.to_json()),
    }
