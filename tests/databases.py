"""A PostgreSQL server of the tests' own, where the machine has the programs."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_INSTALLED = Path("/usr/lib/postgresql")
_OTHER_USER = "postgres"
_SETTINGS = {"listen_addresses": "''", "fsync": "off", "max_connections": "60"}


def programs() -> Path | None:
    """The folder of the server's programs; None where there are none."""
    found = sorted(_INSTALLED.glob("*/bin/initdb"))
    named = shutil.which("initdb")
    return found[-1].parent if found else None if named is None else Path(named).parent


@dataclass(frozen=True)
class Server:
    """A server with its data and its socket in `folder`. programs: where they are."""

    folder: Path
    programs: Path

    def new(self) -> str:
        """The URL of a fresh database."""
        name = f"zhiyin_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://{_OTHER_USER}@/{database}?host={self.folder}"

    def make(self) -> None:
        self._call("initdb", "-U", _OTHER_USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        self._call("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", f"{settings} -k {self.folder}", "start")

    def stop(self) -> None:
        """At once, with what is under way in it."""
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def _call(self, program: str, *words: str) -> None:
        # The server refuses to run as root: then it runs as the user that its package made.
        before = ["runuser", "-u", _OTHER_USER, "--"] if os.geteuid() == 0 else []
        told = subprocess.run(
            [*before, str(self.programs / program), "-D", str(self.folder / "data"), *words],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        assert told.returncode == 0, told.stderr


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    # A socket's path is short; pytest's own folders are not.
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, _OTHER_USER)
        server = Server(Path(folder), programs)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
