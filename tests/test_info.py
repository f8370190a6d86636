"""``molflow info`` tells what a model is without computing with it."""

from __future__ import annotations

import re

import pytest

from molflow.checkpoint import save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts


@pytest.fixture
def folder(tmp_path):
    config = parse_config({"network": {"name": "dense", "width": 16, "layers": 1}})
    facts = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3, "sha256:abc")
    model = make_model(config, facts)
    save(tmp_path / "a", model.network.state_dict(), config, facts, {"molflow": "0.1.0", "steps": 7})
    count = sum(value.numel() for value in model.network.state_dict().values())
    return tmp_path / "a", count


def test_a_model_is_described(folder, capsys):
    path, count = folder
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    lines = {name: value.strip() for name, value in lines.items()}
    assert lines["network"].startswith(f"dense(width=16, layers=1), {count:,} parameters")
    assert lines["atom"] == "prior uniform, path jump"
    assert lines["kinds"] == "H C N+"
    assert lines["sizes"] == "3 to 5 atoms, mean 4.5"
    assert lines["data"] == "sha256:abc"
    assert lines["made by"] == "molflow 0.1.0, steps 7"


def test_progress_is_the_last_value_of_each_column(folder, capsys):
    path, _ = folder
    (path / "metrics.csv").write_text("step,loss,val_loss\n10,0.5,\n20,0.4,0.6\n30,0.3,\n")
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out.split("made by")[1]
    assert [line.split() for line in text.splitlines()[1:]] == [["step", "30"], ["loss", "0.3"], ["val_loss", "0.6"]]
    (path / "config.json").unlink()
    assert main(["info", str(path)]) == 0
    assert "no model saved yet" in capsys.readouterr().out


def test_what_is_no_model_is_answered_with_what_there_is(tmp_path, capsys):
    assert main(["info", str(tmp_path)]) == 2
    assert "holds no config.json" in capsys.readouterr().err
    assert main(["info", "smal"]) == 2
    assert "unknown model 'smal'" in capsys.readouterr().err
    (tmp_path / "x.safetensors").write_bytes(b"not a store")
    assert main(["info", str(tmp_path / "x.safetensors")]) == 2
    assert "x.safetensors" in capsys.readouterr().err


def test_without_a_target_it_tells_what_is_installed_and_what_is_missing(capsys, monkeypatch):
    """A module that is not found is an extra that is missing, with what it would add and how it comes."""
    from molflow.cli import about

    found = about.find_spec
    monkeypatch.setattr(about, "find_spec", lambda name: None if name == "chemiscope" else found(name))
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^molflow +0\.\d+\.\d+, in /", text, re.M)
    assert "torch 2." in text and "cpu: " in text and "small: 2." in text
    assert "missing    view: HTML pages" in text and "pip install 'molflow[view]'" in text


def test_every_extra_that_is_explained_is_there_and_brings_the_modules(root):
    import tomllib

    from molflow.cli.about import EXTRAS

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, (modules, text) in EXTRAS.items():
        brought = {re.split(r"[\[><=]", package)[0].replace("-", "_") for package in extras[name]}
        assert set(modules) == brought and text
