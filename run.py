#!/usr/bin/env python3
"""Makes the project's own environment, then runs what was asked for in it.

python3 run.py [demo options]     recommendations on a page; see `zhiyin demo --help`
python3 run.py test               every check: lint, types, import rules, tests with coverage
python3 run.py zhiyin ARGS...     any other command of the command line
python3 run.py audit              a bill of materials of the pinned packages in build/, and what is known against them
"""

import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("lint-imports",),
    ("mypy",),
    ("pytest", "--cov", "--cov-report=term:skip-covered"),
)

PINNED = ROOT / "constraints.txt"
MATERIALS = ROOT / "build" / "sbom.json"
AUDITORS = ROOT / ".venv-audit"
AUDITS = (
    ("cyclonedx-py", "requirements", PINNED, "--pyproject", ROOT / "pyproject.toml", "--output-file", MATERIALS),
    ("pip-audit", "--strict", "--disable-pip", "--no-deps", "--requirement", PINNED),
)


def main(arguments: list[str]) -> int:
    if arguments == ["audit"]:
        return audit()
    testing = arguments[:1] == ["test"]
    install("dev" if testing else "")
    if testing:
        for check in CHECKS:
            print(f"\n> {' '.join(check)}", flush=True)
            status = subprocess.run([BIN / check[0], *check[1:], *extra(check, arguments)], cwd=ROOT, check=False)
            if status.returncode:
                return status.returncode
        return 0
    words = arguments if arguments[:1] in (["zhiyin"], ["demo"]) else ["demo", *arguments]
    command = [str(BIN / "zhiyin"), *(words[1:] if words[0] == "zhiyin" else words)]
    if os.name != "nt":
        # Who interrupts it speaks to the program itself, which ends in its own time.
        os.execv(command[0], command)  # noqa: S606
    return subprocess.run(command, check=False).returncode


def extra(check: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Further words after `test` are for pytest."""
    return arguments[1:] if check[0] == "pytest" else []


def audit() -> int:
    """Those who look at the packages have an environment of their own, and are not among them."""
    programs = AUDITORS / BIN.name
    if not programs.is_dir():
        venv.create(AUDITORS, with_pip=True)
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "pip-audit==2.10.1", "cyclonedx-bom==7.5.0"], check=True)
    MATERIALS.parent.mkdir(exist_ok=True)
    codes = [subprocess.run([programs / word, *words], check=False).returncode for word, *words in AUDITS]
    return int(any(codes))


def install(extra_name: str) -> None:
    """Installs what `constraints.txt` pins, unless that was done before."""
    wanted = hashlib.sha256(PINNED.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = ENVIRONMENT / f".installed-{extra_name or 'run'}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    began = time.perf_counter()
    if not BIN.is_dir():
        print(f"making an environment in {ENVIRONMENT.name}", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
    print("installing the pinned packages; the first time this takes minutes", flush=True)
    target = f"{ROOT}[{extra_name}]" if extra_name else str(ROOT)
    pip = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", PINNED, "-e", target], check=True)
    stamp.write_text(wanted)
    print(f"installed in {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
