"""zhiyin train"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiyin.cli.show import Bars, choice, cleaned, console, leaderboard
from zhiyin.core.errors import ConfigError


def train(
    store: Annotated[str, typer.Option(help="where the events are: sqlite:///path.db")],
    out: Annotated[Path, typer.Option(help="folder of the trained system")],
    model: Annotated[str | None, typer.Option(help="one model; without it the best is chosen on validation")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with [preparation] and [model] tables")] = None,
    seed: int = 0,
    validation: Annotated[str, typer.Option(help="time, leave-one-out or random")] = "time",
) -> None:
    """Choose on validation data, test the choice, refit it on everything, publish."""
    from zhiyin.app.train import TrainRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.train import train as run  # noqa: PLC0415

    screen = console()
    options = tables(config)
    with Bars(screen) as bars:
        report = run(
            TrainRequest(
                store=store,
                out=out,
                model=model,
                settings=options["model"],
                preparation=options["preparation"],
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


def tables(path: Path | None) -> dict[str, Any]:
    """What a configuration sets: "preparation", and "model" as it stands. Raises `ConfigError` for anything else."""
    from pydantic import ValidationError  # noqa: PLC0415

    from zhiyin.dataset.settings import PreparationSettings  # noqa: PLC0415

    if path is None:
        return {"model": {}, "preparation": PreparationSettings()}
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        unknown = set(found) - {"model", "preparation"}
        if unknown:
            raise ConfigError(f"{path}: unknown tables {sorted(unknown)}; there are [preparation] and [model]")
        preparation = PreparationSettings(**found.get("preparation", {}))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return {"model": found.get("model", {}), "preparation": preparation}
