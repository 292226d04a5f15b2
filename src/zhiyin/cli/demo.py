"""zhiyin demo"""

import time
from pathlib import Path
from typing import Annotated

import typer

from zhiyin.cli.options import Device
from zhiyin.cli.serve import serve
from zhiyin.cli.show import Bars, choice, console, leaderboard


def demo(
    data: Annotated[Path | None, typer.Option(help="your own file of events; without it, MovieLens 100K")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="your own file of items")] = None,
    home: Annotated[Path, typer.Option(help="folder that keeps data and system")] = Path("zhiyin-demo"),
    minutes: Annotated[float | None, typer.Option(min=0, help="time to train on your own file; 60 if left out")] = None,
    device: Device = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    serving: Annotated[bool, typer.Option("--serve/--no-serve", help="serve the page when ready")] = True,
) -> None:
    """Fetch, import, train, publish and serve; run again, it does only what changed."""
    from zhiyin.app.demo import DemoRequest, prepare_demo  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.train import MINUTES  # noqa: PLC0415

    screen = console()
    began = time.perf_counter()
    with Bars(screen) as bars:
        ready = prepare_demo(
            DemoRequest(
                home=home,
                data=data,
                catalogue=catalogue,
                announce=lambda line: screen.print(line, style="dim"),
                progress=bars,
                training=bars.begin,
                minutes=MINUTES if minutes is None else minutes,
                device=device,
            )
        )
    leaderboard(ready.board, screen)
    choice(ready.board, screen)
    if ready.trained is not None:
        screen.print(f"published {ready.trained.chosen.model} as {ready.trained.manifest.manifest_id}", soft_wrap=True)
    screen.print(f"report: {ready.page}", soft_wrap=True)
    screen.print(f"ready after {time.perf_counter() - began:.1f} s of work")
    if serving:
        serve(store=ready.store, artifact=ready.artifact, host=host, port=port, requests=False)
