"""Training as a person meets it: its bar, its loggers, one process or several."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
import yaml

from molflow.build import UserError
from molflow.config import parse_config
from molflow.training import fit


@pytest.fixture
def config(few_molecules):
    def make(**train):
        network = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
        given = {"steps": 6, "validate": 2, "samples": 0, "lr": 2e-3, **train}
        return parse_config({"data": {"path": str(few_molecules), "pairs": 4000}, "network": network, "train": given})

    return make


def test_tensorboard_gets_the_figures(config, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(config(logger="tensorboard", steps=2), tmp_path / "run", progress=False)
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    assert {"loss", "loss_bond", "val_loss", "lr"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert events.Scalars("val_loss")[-1].value == pytest.approx(float(run.read_metrics()[-1]["val_loss"]))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_named(config, tmp_path, name):
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(UserError, match=f"train.logger={name} needs a package .*: pip install {name}"):
        fit(config(logger=name), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


PROBE = """
import json, sys
import torch
from molflow.cli import main
from molflow.training import Training
step_once, seen = Training.training_step, []
def training_step(self, batch, index):
    step_once(self, batch, index)
    total = sum(float(w.double().sum()) for w in self.network.parameters())
    seen.append([batch[0], batch[1].pos.sum().item(), total])
    with open(f"{sys.argv[-1]}.{self.global_rank}.json", "w") as file:
        json.dump(seen, file)
Training.training_step = training_step
sys.exit(main(sys.argv[1:-1]))
"""


@pytest.mark.slow
def test_two_processes_share_the_weights_and_not_the_batches(config, tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(steps=3, devices=2, validate=1, device="cpu").to_dict()))
    (tmp_path / "probe.py").write_text(PROBE)
    arguments = ["train", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run"), str(tmp_path / "seen")]
    done = subprocess.run([sys.executable, str(tmp_path / "probe.py"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is trained") == 1
    first, second = (json.loads((tmp_path / f"seen.{rank}.json").read_text()) for rank in (0, 1))
    assert [row[0] for row in first] == [row[0] for row in second] == [0, 1, 2]
    assert all(a[1] != b[1] for a, b in zip(first, second))
    assert [row[2] for row in first] == [row[2] for row in second]
    assert first[0][2] != first[2][2]
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["steps"] == 3


def test_more_devices_than_there_are_is_an_error(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="train.devices=2, but train.device=cuda has 1 here"):
        fit(config(device="cuda", devices=2), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_bar_shows_the_steps_and_the_loss_of_each_field(config, tmp_path, capsys):
    fit(config(steps=2, validate=1), tmp_path / "run", progress=True)
    shown = capsys.readouterr()
    bar = (shown.out + shown.err).replace("\r", "\n").splitlines()
    last = [line for line in bar if line.startswith("steps: 100%")][-1]
    assert all(name in last for name in ("2/2", "loss=", "loss_pos=", "loss_atom=", "loss_bond=", "mol/s="))
