"""A model's time grids are learned from its own ways and kept with it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from molflow.analysis.grids import learn_grids, reuse_of
from molflow.checkpoint import load, save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.sampling import Sampling

FACTS = Facts(Vocabulary(), Sizes({4: 1, 6: 1}), 1.5, 3)


@pytest.fixture
def folder(tmp_path):
    config = parse_config(
        {
            "data": {"fields": ["pos"]},
            "network": {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1},
            "sample": {"solver": "multistep"},
        }
    )
    torch.manual_seed(0)
    model = make_model(config, FACTS)
    with torch.no_grad():
        for weight in model.network.parameters():  # as if trained: none of them zero
            weight += 0.1 * torch.randn_like(weight)
    save(tmp_path / "model", model.network.state_dict(), config, FACTS, {})
    return tmp_path / "model"


def test_learned_grids_err_less_than_even_ones(folder):
    """Of the coordinates alone, whose ways depend on the steps and on nothing else."""
    model = load(folder, "cpu")
    model.grids = learn_grids(model, [4, 8], n=24, seed=1)
    for steps, times in model.grids.items():
        assert len(times) == steps + 1
        assert (times[0], times[-1]) == (0, 1)
        assert all(t < s for t, s in pairwise(times))
    fine = model.sample(24, steps=200, grid="quadratic", seed=2)
    errors = {
        name: float((model.sample(24, steps=8, grid=name, seed=2).pos - fine.pos).square().mean())
        for name in ("learned", "linear")
    }
    assert errors["learned"] < errors["linear"]


@pytest.mark.parametrize(
    ("solver", "reuse"),
    [
        ("euler", 0.0),
        ("ancestral", 0.0),
        ("churn", 0.0),
        ("heun", 1.0),
        ("multistep", 1.0),
        ({"name": "multistep", "reuse": 0.5}, 0.5),
        ({"name": "confident", "reuse": 0.25}, 0.25),
    ],
    ids=str,
)
def test_grids_are_learned_for_what_the_solver_reuses(solver, reuse):
    assert reuse_of(Sampling(solver=solver)) == reuse


def test_the_command_keeps_them(folder, tmp_path, capsys):
    assert main(["tune", str(folder), "--steps", "2,5", "--n", "6", "--device", "cpu", "--grid", "sine"]) == 0
    assert "config.json written; try: molflow sample" in capsys.readouterr().out
    model = load(folder, "cpu")
    assert sorted(model.grids) == [2, 5]
    assert (model.defaults.grid, model.defaults.solver) == ("sine", "multistep")
    out = ["--n", "2", "--out", str(tmp_path / "x.npz"), "--device", "cpu", "--workers", "0"]
    assert main(["sample", str(folder), "--steps", "5", "--grid", "learned", *out]) == 0
    assert "5 multistep steps on a learned grid" in capsys.readouterr().out
    assert main(["info", str(folder)]) == 0
    assert "grids of 2, 5 steps" in capsys.readouterr().out
    assert main(["sample", str(folder), "--steps", "7", "--grid", "learned", *out, "--overwrite"]) == 2
    assert "no learned grid of 7 steps, it has those of 2, 5" in capsys.readouterr().err


def test_a_model_whose_default_is_a_learned_grid_has_it(folder, tmp_path, capsys):
    """Of the steps that it takes when nothing is said, be they asked for or not."""
    tuned = ["tune", str(folder), "--n", "4", "--device", "cpu", "--grid", "learned"]
    assert main([*tuned, "--steps", "2"]) == 0
    assert sorted(load(folder, "cpu").grids) == [2, 50]
    assert main(["sample", str(folder), "--n", "2", "--out", str(tmp_path / "x.npz"), "--device", "cpu"]) == 0
    assert "50 multistep steps on a learned grid" in capsys.readouterr().out
    assert main(["tune", str(folder), "--n", "4", "--device", "cpu", "--steps", "3", "--haste", "2"]) == 0
    assert sorted(load(folder, "cpu").grids) == [2, 3, 50]


def test_a_model_that_ships_is_not_changed_but_a_copy_is(folder, tmp_path, monkeypatch, capsys):
    """And the copy, once there, goes on learning; another model is not written over."""
    monkeypatch.setattr("molflow.checkpoint.pretrained", lambda: {"shipped": folder})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tuned, copy = ["tune", "shipped", "--n", "4", "--device", "cpu"], tmp_path / "copy"
    assert main([*tuned, "--steps", "2"]) == 2
    assert "shipped ships with molflow and stays as it is: say --out FOLDER" in capsys.readouterr().err
    assert main([*tuned, "--steps", "2", "--out", str(copy)]) == 0
    assert f"molflow sample {copy} --steps 2" in capsys.readouterr().out
    assert main([*tuned, "--steps", "2", "--out", str(copy), "--haste", "6"]) == 0
    assert main([*tuned, "--steps", "3", "--out", str(copy)]) == 0
    assert load(copy, "cpu").defaults.haste == 6, "what it was given before stays"
    assert sorted(load(copy, "cpu").grids) == [2, 3]
    assert (copy / "model.safetensors").read_bytes() == before["model.safetensors"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    (copy / "model.safetensors").write_bytes(b"another")
    assert main([*tuned, "--steps", "3", "--out", str(copy)]) == 2
    assert "exists; choose another name, or say --overwrite" in capsys.readouterr().err
    assert (copy / "model.safetensors").read_bytes() == b"another"
    assert main([*tuned, "--steps", "3", "--out", str(copy), "--overwrite", "--solver", "typo"]) == 2
    assert (copy / "model.safetensors").read_bytes() == b"another", "a mistake is found before that"
    assert main([*tuned, "--steps", "3", "--out", str(copy), "--overwrite"]) == 0
    assert sorted(load(copy, "cpu").grids) == [3]


def test_a_default_of_too_many_steps_is_given_no_learned_grid(folder, capsys):
    card = folder / "config.json"
    card.write_text(card.read_text().replace('"steps": 50', '"steps": 100'))
    assert main(["tune", str(folder), "--grid", "learned", "--device", "cpu"]) == 2
    assert "takes 100 steps, and a learned grid has at most 64: keep another grid" in capsys.readouterr().err


def test_what_cannot_be_learned_is_told(folder, capsys):
    assert main(["tune", str(folder), "--steps", "100", "--device", "cpu"]) == 2
    assert "between 1 and 64 steps, not 100" in capsys.readouterr().err
    assert main(["tune", str(folder), "--steps", "0", "--device", "cpu"]) == 2
    assert "--steps and --n must be at least 1" in capsys.readouterr().err


def test_a_method_that_the_model_cannot_follow_is_not_made_its_default(folder, capsys):
    before = (folder / "config.json").read_bytes()
    assert main(["tune", str(folder), "--steps", "2", "--solver", "leap", "--device", "cpu"]) == 2
    assert "knows no spans" in capsys.readouterr().err
    assert (folder / "config.json").read_bytes() == before
