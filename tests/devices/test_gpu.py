"""On a CUDA device: training there, its precision, no reading back within a step, compiled layers; sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import molflow
from molflow.batch import Batch
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.rng import Rng
from molflow.training import Training, fit, profile
from molflow.training.stream import Item, Pairing, Streams
from molflow.valences import Valences

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

NETWORK = {"name": "dense", "width": 32, "pair_width": 16, "vectors": 4, "heads": 4, "layers": 3}


@pytest.fixture
def config(few_molecules):
    def make(network=(), workers=2, **train):
        given = {"steps": 8, "validate": 2, "samples": 4, "lr": 2e-3, "device": "cuda", **train}
        data = {"path": str(few_molecules), "pairs": 4000, "workers": workers}
        sample = {"steps": 4}
        return parse_config({"data": data, "network": {**NETWORK, **dict(network)}, "train": given, "sample": sample})

    return make


def training_of(config):
    training = Training(config, Store(config.data.path))
    return training.to("cuda" if config.train.device == "cuda" else "cpu")


def ready(training, step):
    """A batch as a worker makes it, then moved."""
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
    return pairing(Item(step, training.loader().at(step))).to(training.device)


def gradient(training, step=3):
    item = ready(training, step)
    rng = Streams(0).at(step, len(item.molecules), training.device)
    training.objective.total(training.losses(training.compiled, item.molecules, rng, item)).backward()
    return torch.cat([weight.grad.flatten().cpu() for weight in training.network.parameters()])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"workers": 0},
        {"precision": "fp32"},
        {"network": {"recompute": True}},
        {"network": {"census": True}},
        {"optimizer": "muon"},
    ],
    ids=str,
)
def test_it_trains_there_and_goes_on_from_its_checkpoint(config, tmp_path, changes):
    run = fit(config(**changes, steps=4), tmp_path / "run", progress=False)
    first = torch.load(run.checkpoint, weights_only=True)
    fit(config(**changes), tmp_path / "run", resume=True, progress=False)
    last = torch.load(run.checkpoint, weights_only=True)
    assert (first["steps"], last["steps"], last["skipped"]) == (4, 8, 0)
    assert all(weight.isfinite().all() for weight in last["network"].values())


def test_minutes_train_there(config, tmp_path):
    run = fit(config(steps=None, minutes=0.2), tmp_path / "run", progress=False)
    state = torch.load(run.checkpoint, weights_only=True)
    assert len(state["length"]["turns"]) > 1
    assert state["seconds"] < 1.25 * 12


@pytest.mark.parametrize(("precision", "near"), [("fp32", 0.9999), ("bf16", 0.99)])
def test_the_gradient_is_the_cpu_s(config, precision, near):
    there = gradient(training_of(config(precision=precision)))
    here = gradient(training_of(config(precision="fp32", device="cpu")))
    assert torch.cosine_similarity(there, here, dim=0) > near


@pytest.mark.parametrize("network", [{}, {"census": True}], ids=str)
@pytest.mark.parametrize("compiled", ["none", "layers", "graphs"])
def test_a_step_waits_for_nothing(config, compiled, network):
    training = training_of(config(network, compile=compiled))
    optimizer = training.configure_optimizers()
    items = [ready(training, step) for step in (0, 1, 2) * 3]
    for k, item in enumerate(items):
        rng = Streams(0).at(item.step, len(item.molecules), training.device)
        torch.cuda.set_sync_debug_mode("error" if k >= 6 else "default")  # compiling and recording may wait
        try:
            _, finite = training.descend(optimizer, item.molecules, rng, noise=item)
            training.update_average(item.step, finite)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert bool(finite)


@pytest.mark.slow
@pytest.mark.parametrize("network", [{}, {"census": True}], ids=str)
@pytest.mark.parametrize("compiled", ["layers", "graphs"])
def test_compiled_networks_give_the_same_gradient(config, compiled, network):
    plain = gradient(training_of(config(network, precision="fp32")))
    found = gradient(training_of(config(network, precision="fp32", compile=compiled)))
    assert torch.cosine_similarity(found, plain, 0) > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("compiled", ["layers", "graphs"])
def test_compiled_networks_train(config, tmp_path, compiled):
    run = fit(config(compile=compiled), tmp_path / "run", progress=False)
    assert torch.load(run.checkpoint, weights_only=True)["steps"] == 8


def test_a_profile_tells_of_the_device(config):
    text = profile(config())
    assert "cuda" in text
    assert "GFLOP/s" in text


def test_labels_that_fit_together_have_the_cpu_s_laws():
    vocabulary = Vocabulary(("H", "C", "N", "O"), (), (0, 1, 2, 3))
    fits = Valences.of(vocabulary, Joint({"atom": Jump(4), "bond": Jump(4)}), 7.0)
    x = Batch.of_sizes([18, 23, 9])
    chance = torch.Generator().manual_seed(0)
    shapes = {"atom": (*x.mask.shape, 4), "bond": (*x.pair_mask.shape, 4)}
    end = {name: (3 * torch.randn(shape, generator=chance)).softmax(-1) for name, shape in shapes.items()}
    here = fits.marginals(end, x)
    there = fits.marginals({name: law.cuda() for name, law in end.items()}, x.to("cuda"))
    for name, law in here.items():
        torch.testing.assert_close(there[name].cpu(), law, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["small", "qm9-relay"])
@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-3), ("bf16", 0.02)])
def test_sampling_follows_the_cpu_s_flow(name, precision, near):
    """From the same states; what the second model is told too."""
    ids, sizes, ends = np.arange(3), np.array([9, 15, 18]), []
    for device in ("cpu", "cuda"):
        model = molflow.load(name, device)
        like = model.empty(model.asked(None, model.defaults), 0, ids, sizes)
        x = model.prior(like, Rng(0, torch.arange(3, device=device)))
        flow = model.flow(precision=precision if device == "cuda" else "fp32")
        ends.append([{key: value.cpu() for key, value in flow.endpoint(x, t).items()} for t in (0.0, 0.3, 0.95)])
    for here, there in zip(*ends):
        for key, value in here.items():
            assert (there[key] - value).square().mean().sqrt() < near * value.square().mean().sqrt(), key


def test_who_writes_does_not_show_in_the_file(tmp_path):
    """1,100 molecules are drawn at once, and are three parts to write."""
    for workers in (0, 2):
        out = ["--out", str(tmp_path / f"{workers}.sdf"), "--workers", str(workers)]
        assert main(["sample", "small", "--n", "1100", "--steps", "2", "--device", "cuda", *out]) == 0
    assert (tmp_path / "0.sdf").read_bytes() == (tmp_path / "2.sdf").read_bytes()
    assert [path.name for path in tmp_path.glob("*.parts")] == []
