"""The tree in the READMEs is the tree of the package, in the order in which data flows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOW = (
    "core",
    "events",
    "storage",
    "dataset",
    "encoders",
    "models",
    "training",
    "evaluation",
    "retrieval",
    "artifacts",
    "app",
    "cli",
    "web",
    "testing",
)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_tree_of_the_package_is_true(page: str) -> None:
    (tree,) = re.findall(r"^src/zhiyin/\n((?:  .+\n)+)", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    named = [name for line in tree.splitlines() for name in re.findall(r"(?<=  )([a-z_]+)/(?= )", line)]
    assert tuple(named) == FLOW


def test_every_folder_of_the_package_has_its_place() -> None:
    package = ROOT / "src" / "zhiyin"
    assert {path.name for path in package.iterdir() if any(path.glob("*.py"))} == set(FLOW)
