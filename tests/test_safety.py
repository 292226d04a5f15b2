"""Nothing is ever unpickled or evaluated, and importing the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zhiyin

ROOT = Path(__file__).parents[1]
SCANNED = (*Path(zhiyin.__file__).parent.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "run.py")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def unsafe(source: str) -> list[int]:
    """Lines of a program that unpickle or evaluate."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Import) and any(_top(alias.name) in FORBIDDEN_MODULES for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and _imports_unsafe(node))
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS)
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "builtins.eval", "builtins.exec"})
        or (isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False")
    ]


def _imports_unsafe(node: ast.ImportFrom) -> bool:
    names = {alias.name for alias in node.names}
    module = _top(node.module or "")
    return module in FORBIDDEN_MODULES or (module == "torch" and bool(names & {"load", "*"}))


def _top(module: str) -> str:
    return module.partition(".")[0]


def test_no_pickle_no_eval_no_torch_load() -> None:
    assert {"run.py", "loading.py", "importing.py"} <= {path.name for path in SCANNED}
    assert {path.name: lines for path in SCANNED if (lines := unsafe(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import numpy, joblib.memory",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "from torch import *",
        "from torch.serialization import load",
        "eval('1')",
        "import builtins\nbuiltins.exec('1')",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "import numpy\nnumpy.load('x', allow_pickle=flag)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert unsafe(source)
    assert not unsafe("import torch\nfrom torch import nn\nnumpy.load('x', allow_pickle=False)\nmodel.eval()")


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, zhiyin, zhiyin.core; print({'torch', 'polars', 'pydantic'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert outcome.stdout.strip() == "set()"
