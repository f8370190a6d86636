"""The import arrows of docs/design.md, and a start that loads nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import molflow

PACKAGE = Path(molflow.__file__).parent
LEVELS = (
    ("atomic", "batch", "geometry", "build", "plugins", "device", "rng", "versions", "workers", "chem"),
    ("data", "priors", "couplings", "paths", "networks", "solvers", "metrics", "times"),
    (
        "objectives",
        "flow",
        "generate",
        "sampling",
        "composition",
        "valences",
        "evaluate",
        "comparing",
        "analysis",
        "config",
        "agreement",
        "facts",
        "yamlfile",
        "experiment",
        "minima",
        "picking",
        "portions",
    ),
    ("training", "checkpoint", "run", "jobs", "lineage", "reflow", "relay", "telling", "varying"),
    ("viewer",),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path: Path) -> set[str]:
    """Second part of every ``molflow.<part>`` that the file imports, in functions too, but not under TYPE_CHECKING."""
    parts, todo = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            todo += node.orelse
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [node.module] if node.module != "molflow" else [f"molflow.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("molflow."):
            names = [node.value.partition(":")[0]] if ":" in node.value else []  # "molflow.paths.linear:Linear"
        parts |= {name.split(".")[1] for name in names if name and name.startswith("molflow.")}
        todo += ast.iter_child_nodes(node)
    return parts


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_go_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no level: give it one here and in docs/design.md"
    for part in imported(path) - {own, "__version__"}:
        assert part in LEVEL, f"{path} imports molflow.{part}, which has no level"
        may = LEVEL[part] < LEVEL[own] or (LEVEL[part] == LEVEL[own] != 1)
        assert may, f"level {LEVEL[own]} {own} must not import level {LEVEL[part]} {part}"


def test_the_reader_of_imports_sees_what_counts(tmp_path):
    (tmp_path / "x.py").write_text(
        "if TYPE_CHECKING:\n import molflow.cli\n"
        "def f():\n from molflow.data.store import Store\n"
        "FAMILY = {'linear': 'molflow.paths.linear:Linear'}\n"
        "from molflow import rng\n"
    )
    assert imported(tmp_path / "x.py") == {"data", "paths", "rng"}


def test_lightning_is_imported_by_training_alone():
    statement = re.compile(r"^\s*(import|from) lightning\b", re.M)
    users = {path.relative_to(PACKAGE).parts[0] for path in FILES if statement.search(path.read_text(encoding="utf-8"))}
    assert users <= {"training"}


@pytest.mark.parametrize(
    "statement",
    [
        "import molflow",
        "import molflow; dir(molflow); molflow.__version__",
        "from molflow.cli import main; main(['--help'])",
        "from molflow.cli import main; main(['--version'])",
        "from molflow.cli import main; main(['sampel'])",
    ],
)
def test_start_loads_nothing_heavy(statement):
    heavy = ["torch", "lightning", "numpy", "scipy", "rdkit", "torch_geometric", "e3nn", "ot", "yaml"]
    check = f"{statement}\nimport sys\nprint('loaded:', *[name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert run.stdout.splitlines()[-1].strip() == "loaded:"


def test_sampling_starts_its_workers_before_torch_is_imported():
    check = "import molflow.cli.sample, sys; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert run.stdout.strip() == "False"


def test_every_public_name_is_found():
    assert set(molflow.__all__) - {"__version__"} == set(molflow._LAZY)
    for name in molflow.__all__:
        assert name in dir(molflow)
        assert getattr(molflow, name) is getattr(molflow, name)
    with pytest.raises(AttributeError, match="no attribute 'loda'"):
        molflow.loda  # noqa: B018
