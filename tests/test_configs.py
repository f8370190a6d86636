"""Each file in configs/ is complete and readable alone, builds, trains two steps and samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from molflow.build import build
from molflow.checkpoint import load, read_card
from molflow.cli import main
from molflow.config import Config, read_config
from molflow.data.toys import make_toy
from molflow.networks import NETWORKS

CONFIGS = sorted((Path(__file__).resolve().parent.parent / "configs").glob("*.yaml"))
SMALLER = {"width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def moons(tmp_path_factory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "moons.safetensors", "moons", n=300).path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    few = ["--pairs", "60", "--steps", "1", "--workers", "0", "--device", "cpu"]
    assert main(["reflow", "small", *few, "--out", str(out)]) == 0
    return out


def test_it_is_complete(config):
    text = config.read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    assert text.startswith("# "), "a configuration opens with what it is for"
    assert set(values) == set(Config().to_dict())
    for field in values["data"]["fields"]:
        assert field in values["prior"]
        assert field in values["path"]
        assert field in values["loss"]["weights"]
    assert len({"epochs", "steps", "minutes"} & set(values["train"])) == 1


@pytest.mark.parametrize(
    ("name", "least", "most"), [("qm9_cpu", 1.0, 2.0), ("qm9", 3.0, 6.0), ("qm9_large", 15.0, 25.0)]
)
def test_the_three_sizes_of_qm9(name, least, most):
    """Tiny, base and large, in millions of weights."""
    spec = read_config(CONFIGS[0].parent / f"{name}.yaml").network
    widths = {"atom": (7, 7), "bond": (4, 4)}
    count = sum(weight.numel() for weight in build("network", NETWORKS, spec, fields=widths, dim=3).parameters())
    assert least < count / 1e6 < most


def test_it_trains_two_steps_and_samples(config, few_molecules, moons, pairs, tmp_path, monkeypatch):
    given = yaml.safe_load(config.read_text(encoding="utf-8"))
    molecules = "atom" in given["data"]["fields"]
    changes = {"data.path": few_molecules if molecules else moons, "data.pairs": 1000}
    changes |= {"train.steps": 2, "train.samples": 2, "train.validate": 1, "sample.steps": 2}
    changes |= {"train.device": "cpu", "train.compile": "none", "data.workers": 0}
    changes |= {f"network.{key}": value for key, value in SMALLER.items() if key in given["network"]}
    if "init" in given["train"]:
        changes |= {"train.init": "null"}
    if "teacher" in given["train"]:
        card = read_card("small").config.to_dict()
        changes |= {"train.teacher": "small", "train.init": "small", "network": json.dumps(card["network"])}
        changes = {key: value for key, value in changes.items() if not key.startswith("network.")}
    if given["coupling"] == [{"name": "reflow"}]:
        changes |= {"data.path": pairs}
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(config), *(f"{key}={value}" for key, value in changes.items())]) == 0
    run = tmp_path / "runs" / config.stem  # where it goes when --out is not given
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.csv", "last.ckpt", "model.safetensors"}
    batch = load(run, "cpu").sample(3)
    assert len(batch) == 3
    assert batch.pos.isfinite().all()
    assert ("atom" in batch.fields) == molecules
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # no folder of Lightning's beside it


def test_what_is_printed_reads_back_the_same(config, tmp_path, capsys):
    assert main(["train", str(config), "train.lr=1e-3", "--sample.steps", "7", "--print_config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(text)
    expected = read_config(config, {"train.lr": 1e-3, "sample.steps": 7})
    assert read_config(tmp_path / "again.yaml").to_dict() == expected.to_dict()
    assert main(["train", str(tmp_path / "again.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == text


def test_a_part_is_chosen_before_its_keys_whatever_the_order(config):
    whole, key = ("network", "egnn"), ("network.width", 64)
    for order in ([whole, key], [key, whole]):
        assert read_config(config, dict(order)).network == {"name": "egnn", "width": 64}
