"""The page of published tables is made of what was found."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def outcomes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outcomes", ROOT / "benchmarks" / "outcomes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_outcomes_say(outcomes: ModuleType) -> None:
    assert (ROOT / "docs" / "accuracy.md").read_text("utf-8") == outcomes.page()


def test_every_outcome_tells_its_command_and_its_settings() -> None:
    found = [json.loads(path.read_text("utf-8")) for path in (ROOT / "benchmarks" / "outcomes").glob("*.json")]
    assert found
    for outcome in found:
        assert outcome["command"].startswith("python benchmarks/accuracy.py --data DIR")
        assert all(row["config"] and len(row["seconds"]) == len(outcome["seeds"].split(",")) for row in outcome["rows"])
