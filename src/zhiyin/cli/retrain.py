"""`zhiyin retrain`"""

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from zhiyin.cli.options import Device, Store, Tenant
from zhiyin.cli.show import Bars, console, interval
from zhiyin.cli.train import show
from zhiyin.core.errors import ZhiyinError

if TYPE_CHECKING:
    from zhiyin.app.retrain import RetrainReport, Verdict
    from zhiyin.app.train import TrainRequest

HOUR_S = 3600.0


def retrain(
    store: Store,
    out: Annotated[Path, typer.Option(help="folder of the trained system")],
    model: Annotated[str | None, typer.Option(help="one model; without it all are tried, and a blend of them")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with \\[preparation] and \\[model] tables")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="time for all of it, as for train")] = None,
    seed: int = 0,
    device: Device = None,
    tenant: Tenant = "default",
    every: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0, help="again and again, so long after each end; else once")
    ] = None,
) -> None:
    """Train anew, and publish what is not worse on the latest events than what serves."""
    from zhiyin.app.settings import read_settings  # noqa: PLC0415
    from zhiyin.app.train import MINUTES, TrainRequest  # noqa: PLC0415  keeps torch out of the other commands

    settings = read_settings(config)
    request = TrainRequest(
        store=store,
        out=out,
        model=model,
        settings=settings.model,
        preparation=settings.preparation,
        minutes=MINUTES if minutes is None and model is None else minutes,
        seed=seed,
        device=device,
        tenant=tenant,
    )
    screen = console()
    if every is None:
        _once(request, screen)
        return
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    while not stopping.is_set():
        try:
            _once(request, screen)
        except (ZhiyinError, OSError) as error:
            # What serves goes on; the next time may find what was missing.
            screen.print(str(error), style="red", soft_wrap=True, markup=False)
        stopping.wait(every * HOUR_S)


def _once(request: "TrainRequest", screen: Console) -> None:
    from zhiyin.app.retrain import retrain as run  # noqa: PLC0415

    with Bars(screen) as bars:
        report = run(replace(request, progress=bars, announce=bars.begin))
    if report.training is not None:
        show(report.training, screen, request.out, chosen=request.model is None)
    if report.verdict is not None:
        _tell(report.verdict, screen)
    _conclude(report, screen)


def _tell(verdict: "Verdict", screen: Console) -> None:
    screen.print(
        f"on the latest events, {verdict.difference.n:,} users, NDCG@10: what served {interval(verdict.serving)}, "
        f"what was chosen {interval(verdict.chosen)}, difference {interval(verdict.difference)}",
        soft_wrap=True,
        highlight=False,
    )


def _conclude(report: "RetrainReport", screen: Console) -> None:
    if report.training is None:
        screen.print(f"{report.why}; {report.manifest_id} stays", style="yellow", soft_wrap=True)
