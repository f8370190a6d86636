"""Other packages bring parts by entry points: the package of docs/extending.md is installed and used as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from molflow import plugins
from molflow.build import UserError, build, find, names
from molflow.chem.io import open_writer
from molflow.cli import main
from molflow.data.store import Store
from molflow.evaluate import score
from molflow.metrics import MEASUREMENTS, PROTOCOLS
from molflow.paths import PATHS
from molflow.priors import PRIORS
from molflow.times import TIMES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def block(kind: str, title: str = "") -> str:
    """A fenced block of the page by its first line."""
    (found,) = re.findall(rf"^```{kind}\n({re.escape(title)}.*?)^```", PAGE, flags=re.M | re.S)
    return found


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The folder that pip installed the page's package into, built from the page's own blocks."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "molflow_example").mkdir()
    (source / "molflow_example" / "__init__.py").touch()
    (source / "pyproject.toml").write_text(block("toml"))
    for title in re.findall(r"^```python\n# (molflow_example/\w+\.py)$", PAGE, flags=re.M):
        (source / title).write_text(block("python", f"# {title}"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return target


@pytest.fixture
def at_hand(example, monkeypatch, tmp_path) -> Path:
    """The package importable, and a folder to work in."""
    monkeypatch.syspath_prepend(str(example))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_gives_every_part_its_file(at_hand):
    groups = tomllib.loads(block("toml"))["project"]["entry-points"]
    assert {"molflow.paths", "molflow.couplings", "molflow.networks", "molflow.measurements"} <= set(groups)
    for what, group in plugins.GROUPS.items():
        assert set(plugins.installed(what)) == set(groups.get(group, {}))
        for name in groups.get(group, {}):
            assert callable(find(what, {}, name))


def test_data_configuration_solver_and_metric_go_by_their_names(at_hand, few_molecules, capsys):
    """The commands of the page, in its order; the molecules that are scored are given, to be quick."""
    (at_hand / "spiral.yaml").write_text(block("yaml"))
    lines = re.findall(r"^    (molflow .*)$", PAGE.partition("Install it")[2].partition("where `spiral.yaml`")[0], re.M)
    toy, train, sample, small, judge = [shlex.split(line)[1:] for line in lines]
    assert main(toy) == 0
    assert main(train) == 0
    assert main([*sample, "--workers", "1", "--steps", "4"]) == 0
    assert np.load("points.npz")["positions"].shape == (20 * 8, 2)
    assert small[:2] == ["sample", "small"]
    assert main([*small, "--workers", "1", "--steps", "2"]) == 0
    with open_writer("molecules.sdf", overwrite=True) as out:
        out.write(Store(few_molecules).batch(range(5)))
    capsys.readouterr()
    assert main(judge) == 0
    assert re.search(r"^gyration, of 5 of 5 molecules\n  radius +mean 1\.\d", capsys.readouterr().out, re.M)


def test_the_radius_worked_by_hand(at_hand):
    """H2 of length 0.74: each atom lies 0.37 from the middle."""
    from rdkit import Chem

    mol = Chem.MolFromMolBlock("\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n" + _H2, removeHs=False)
    found = score([mol, None], tier="gyration").sections["gyration"]["radius"]
    assert found.mean == pytest.approx(0.37)
    assert (found.measured, found.of) == (1, 1)  # the failed one is counted by the protocols


_H2 = """    0.0000    0.0000    0.0000 H   0  0
    0.7400    0.0000    0.0000 H   0  0
  1  2  1  0
M  END
"""


def test_a_misspelt_name_is_answered_with_the_brought_ones_too(at_hand):
    with pytest.raises(UserError, match=r"unknown path 'breaking' \(did you mean 'braking'\?\); choose from braking, "):
        build("path", PATHS, "breaking")
    assert names("path", PATHS) == [*PATHS, "braking"]
    with pytest.raises(UserError, match=r"unknown tier 'giration' \(did you mean 'gyration'\?\)"):
        score([None], tier="giration")
    assert main(["score", "--list"]) == 0


def test_the_contracts_find_nothing_wrong(example):
    """The command of the page, less what takes long."""
    (line,) = re.findall(r"^    pytest (.*)$", PAGE, re.M)
    suites = [
        f"tests/contracts/test_{name}.py"
        for name in ("paths", "couplings", "objectives", "solvers", "metrics", "networks")
    ]
    chosen = ["-k", f"({shlex.split(line)[2]}) and not float64", "-p", "no:cacheprovider", "-rN"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen, *suites],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(example), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr  # 5 would be: no contract knew the parts


# -- what other packages may do wrong


@pytest.fixture
def package(tmp_path, monkeypatch):
    """``package(name, entry points, **modules)``: a distribution of its own folder, as pip leaves it."""

    def install(name: str, points: dict[str, str], **modules: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-2.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        lines = [f"[{group}]\n{line}\n" for group, line in points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder))

    return install


def test_every_family_has_its_group(package):
    package(
        "others",
        {
            "molflow.priors": "bell = molflow.priors.gaussian:Gaussian",
            "molflow.times": "flat = molflow.times.uniform:Uniform",
            "molflow.protocols": "severe = molflow.metrics.strict:Strict",
        },
    )
    assert build("prior", PRIORS, "bell", field="pos", channels=3).field == "pos"
    assert build("times", TIMES, "flat") is not None
    report = score([None], protocols=["severe"])
    assert report["severe"].valid.of == 1
    assert "severe" in report.table()


def test_a_package_that_cannot_be_imported_is_named_and_stands_in_no_ones_way(package, capsys):
    package("broken", {"molflow.paths": "bent = bent_module:Bent"}, bent_module="import no_such_library_at_all\n")
    assert build("path", PATHS, "linear") is not None
    with pytest.raises(UserError, match="unknown path 'slerp'; choose from bent, "):
        build("path", PATHS, "slerp")
    words = r"path 'bent' of the package broken 2\.5 \(entry point molflow\.paths: bent = bent_module:Bent\) cannot be"
    with pytest.raises(UserError, match=f"{words} loaded: ModuleNotFoundError: No module named 'no_such_library_at_a"):
        build("path", PATHS, "bent")


def test_a_part_that_is_none_is_refused(package):
    package("odd", {"molflow.paths": "odd = odd_module:VALUE"}, odd_module="VALUE = 7\n")
    with pytest.raises(UserError, match="is no class or function, but 7"):
        build("path", PATHS, "odd")


def test_two_packages_of_one_name_are_both_told_and_our_own_names_stay_ours(package):
    package("first", {"molflow.paths": "same = molflow.paths.linear:Linear\nlinear = nowhere:Else"})
    package("second", {"molflow.paths": "same = molflow.paths.linear:Linear"})
    with pytest.raises(UserError, match=r"brought by second 2\.5 and by first 2\.5: uninstall one"):
        build("path", PATHS, "same")
    assert type(build("path", PATHS, "linear")).__module__ == "molflow.paths.linear"
    assert not set(MEASUREMENTS) & set(plugins.installed("measurement"))
    assert "strict" in names("protocol", PROTOCOLS)
