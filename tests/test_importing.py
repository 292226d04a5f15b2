"""The benchmark of the import at a small size: its generator and its truth are right."""

import csv
import json
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

from zhiyin.storage.opening import open_stores

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "importing.py"
ROWS = 20_000


def test_the_import_refuses_what_the_generator_broke(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "refusals", "--rows", str(ROWS), "--work", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert len(truth) == 12
    assert set(truth.values()) == {16, 17}
    with (tmp_path / "broken.db.refused.csv").open(encoding="utf-8-sig", newline="") as file:
        assert Counter(row["reason"] for row in csv.DictReader(file)) == truth
    stores = open_stores(f"sqlite:///{tmp_path / 'broken.db'}")
    assert sum(map(len, stores.events.read())) == ROWS - sum(truth.values())
    stores.close()


def test_the_generator_writes_the_same_file_again(tmp_path: Path) -> None:
    write = runpy.run_path(str(SCRIPT))["write_broken"]
    assert write(tmp_path / "a.csv", 1200) == write(tmp_path / "b.csv", 1200)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert len((tmp_path / "a.csv").read_bytes().splitlines()) == 1201
