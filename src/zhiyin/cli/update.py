"""`zhiyin update`: what came in since is folded into a published system."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zhiyin.cli.options import Device, Store, Tenant
from zhiyin.cli.show import Bars, console, interval
from zhiyin.core.strict_json import strict_json

if TYPE_CHECKING:
    from zhiyin.app.update import UpdateReport


def update(
    store: Store,
    out: Annotated[Path, typer.Option(help="folder of the trained system")],
    device: Device = None,
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Fit the published system on what came in since, at its settings, and tell how far that drifted."""
    from zhiyin.app.update import UpdateRequest  # noqa: PLC0415  keeps torch out of the other commands
    from zhiyin.app.update import update as run  # noqa: PLC0415

    screen = console(stderr=as_json)
    with Bars(screen) as bars:
        report = run(UpdateRequest(store, out, bars, bars.begin, device, tenant))
    if as_json:
        published = None if report.manifest is None else report.manifest.manifest_id
        told = {**asdict(report), "manifest": published, "worse": report.worse}
        typer.echo(strict_json(told))
        return
    for line in _lines(report):
        screen.print(line, highlight=False, soft_wrap=True)
    if report.worse:
        screen.print("what came since is answered worse than the test was: train again", style="yellow", soft_wrap=True)
    if report.manifest is None:
        screen.print("nothing came in since: the published version stays", soft_wrap=True)
    else:
        screen.print(f"published {report.model} as {report.manifest.manifest_id} in {out}", soft_wrap=True)


def _lines(report: "UpdateReport") -> list[str]:
    drift = report.drift
    if not drift.events:
        return []
    lines = [
        f"{drift.events:,} events since, {drift.share:.1%} of all: {drift.newcomers:.1%} of newcomers, "
        f"{drift.new_items:.1%} on new items",
        f"what people take moved by {drift.distance:.3f}; by {drift.usual:.3f} in as many events before",
    ]
    if report.found is not None:
        tested = "" if report.tested is None else f"; {interval(report.tested)} on the test of its training"
        lines.append(f"NDCG@10 of their next item {interval(report.found)}{tested}")
    return lines
