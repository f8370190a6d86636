"""What `molflow sample` says of its methods, and how they are named with keywords."""

from __future__ import annotations

import json

import pytest

from molflow.cli import main
from molflow.cli.method import component, in_words
from molflow.sampling import Sampling
from molflow.solvers import SOLVERS
from molflow.solvers.schedule import GRIDS


def test_help_lists_every_solver_and_every_grid(capsys):
    assert main(["sample", "--help"]) == 0
    text = capsys.readouterr().out
    for name in [*SOLVERS, *GRIDS, "learned"]:
        assert name in text


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Sampling(steps=20), "20 euler steps on a quadratic grid"),
        (Sampling(steps=20, precision="bf16"), "20 euler steps on a quadratic grid, in bf16"),
        (Sampling(steps=5, solver={"name": "heun"}, grid="sine"), "5 heun steps on a sine grid of 2 evaluations"),
        (
            Sampling(steps=1, solver="dopri5"),
            "1 dopri5 steps on a quadratic grid, as many evaluations as its tolerance",
        ),
    ],
)
def test_a_method_is_told_with_its_cost(how, expected):
    assert in_words(how).startswith(expected)


def test_a_solver_takes_keywords(tmp_path, capsys):
    assert component("{name: churn, amount: 0.1}") == {"name": "churn", "amount": 0.1}
    options = ["--n", "2", "--steps", "2", "--out", str(tmp_path / "m.sdf"), "--workers", "0", "--device", "cpu"]
    assert main(["sample", "small", *options, "--solver", "{name: multistep, reuse: 0.5}", "--haste", "2"]) == 0
    assert "2 multistep steps" in capsys.readouterr().out
    for solver, message in (
        ("{name: churn, amount: 7}", "amount must be between 0 and 1"),
        ("{name: churn, amuont: 0.1}", "unknown key of solver 'churn' 'amuont'"),
        ("{name: churn", "cannot be read"),
        ("{name: confident, chance: -1}", "chance must be 0 or more, not -1"),
        ("{name: corrector, amount: 0}", "amount must be above 0, not 0"),
        ("ancestral", "path.pos linear is none"),
    ):
        assert main(["sample", "small", *options, "--overwrite", "--solver", solver]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["composition", "valences"])
def test_what_fits_together_changes_the_molecules_and_is_noted(tmp_path, capsys, option):
    files = []
    for strength in ("0", "4"):
        out = tmp_path / f"{strength}.sdf"
        options = ["--n", "4", "--steps", "3", "--out", str(out), "--workers", "0", "--device", "cpu"]
        assert main(["sample", "small", *options, f"--{option}", strength]) == 0
        assert json.loads((tmp_path / f"{strength}.sdf.json").read_text())[option] == float(strength)
        files.append(out.read_text())
    assert files[0] != files[1]
    assert main(["sample", "small", *options, "--overwrite", f"--{option}", "much"]) == 2
    assert f"--{option}: expected float, not 'much'" in capsys.readouterr().err


def test_bf16_is_told_noted_and_the_same_from_any_number_of_workers(tmp_path, capsys):
    files = {}
    for name, options in {"one": ["--workers", "0"], "two": ["--workers", "2"]}.items():
        out = tmp_path / f"{name}.sdf"
        options += ["--n", "120", "--steps", "2", "--out", str(out), "--device", "cpu", "--precision", "bf16"]
        assert main(["sample", "small", *options]) == 0
        assert "on a quadratic grid, in bf16" in capsys.readouterr().out
        assert json.loads((tmp_path / f"{name}.sdf.json").read_text())["precision"] == "bf16"
        files[name] = out.read_bytes()
    assert files["one"] == files["two"]
