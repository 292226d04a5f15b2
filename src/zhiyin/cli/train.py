"""zhiyin train"""

from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.show import Bars, choice, cleaned, console, leaderboard


def train(
    store: Annotated[str, typer.Option(help="where the events are: sqlite:///path.db")],
    out: Annotated[Path, typer.Option(help="folder of the trained system")],
    model: Annotated[str | None, typer.Option(help="one model; without it the best is chosen on validation")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with [preparation] and [model] tables")] = None,
    seed: int = 0,
    validation: Annotated[str, typer.Option(help="time, leave-one-out or random")] = "time",
) -> None:
    """Choose on validation data, test the choice, refit it on everything, publish."""
    from zhiyin.app.settings import read_settings  # noqa: PLC0415
    from zhiyin.app.train import TrainRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.train import train as run  # noqa: PLC0415

    screen = console()
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
                seed=seed,
                progress=bars,
                announce=bars.begin,
            )
        )
    cleaned(report.removals)
    leaderboard(report.board, screen)
    for note in report.notes:
        screen.print(note, style="yellow", soft_wrap=True)
    if model is None:
        choice(report.board, screen)
    screen.print(f"published {report.chosen.model} as {report.manifest.manifest_id} in {out}", soft_wrap=True)
    screen.print(f"report: {report.page}", soft_wrap=True)
