"""zhiyin evaluate"""

from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.options import Device, Store, Tenant
from zhiyin.cli.show import Bars, choice, cleaned, console, leaderboard
from zhiyin.core.errors import ConfigError


def evaluate(
    store: Store,
    report: Annotated[Path, typer.Option(help="folder of the report")],
    protocol: Annotated[str, typer.Option(help="next, time, leave-one-out or cv (ratings)")] = "time",
    models: Annotated[str | None, typer.Option(help="names, separated by commas; all without it")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with a \\[preparation] table")] = None,
    seed: int = 0,
    device: Device = None,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare models on a test split that nothing was chosen on."""
    from zhiyin.app.evaluate import EvaluateRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.evaluate import evaluate as run  # noqa: PLC0415
    from zhiyin.app.settings import read_settings  # noqa: PLC0415

    settings = read_settings(config)
    if settings.model:
        raise ConfigError(
            "an evaluation tries each model's own settings: leave out the [model] table and ZHIYIN_MODEL__*"
        )
    screen = console(stderr=as_json)
    with Bars(screen) as bars:
        outcome = run(
            EvaluateRequest(
                store=store,
                report=report,
                protocol=protocol,
                models=[name.strip() for name in models.split(",")] if models else (),
                preparation=settings.preparation,
                seed=seed,
                device=device,
                tenant=tenant,
                progress=bars,
                announce=bars.begin,
            )
        )
    cleaned(outcome.removals)
    if as_json:
        typer.echo(outcome.board.to_json())
        return
    leaderboard(outcome.board, screen)
    for note in outcome.notes:
        screen.print(note, style="yellow", soft_wrap=True)
    if outcome.board.chosen is not None:
        choice(outcome.board, screen)
    screen.print(f"report: {outcome.page}", soft_wrap=True)
