"""What a step learns from is the same whoever makes it ready, and a step reads nothing back from its device."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from molflow.build import UserError
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.networks.layers import inputs
from molflow.training import Training, fit
from molflow.training.skips import Skips
from molflow.training.stream import Item, Pairing, Streams, data_loader

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}


@pytest.fixture
def config(few_molecules):
    def make(workers=0, **train):
        given = {"steps": 4, "validate": 1, "samples": 0, "lr": 2e-3, "device": "cpu", **train}
        data = {"path": str(few_molecules), "pairs": 4000, "workers": workers}
        return parse_config({"data": data, "network": NETWORK, "train": given})

    return make


@pytest.fixture
def training(config):
    made = config()
    return Training(made, Store(made.data.path))


def ready(training, step=0):
    """A batch of a step with its noise at hand."""
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
    return pairing(Item(step, training.loader().at(step)))


def test_workers_make_the_same_noise_and_pairs(training):
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(training.config.seed))
    items = list(data_loader(training.loader(), 5, pairing, workers=2, pin=False))
    assert [item.step for item in items] == [0, 1, 2, 3, 4]
    for item in items:
        here = pairing(Item(item.step, training.loader().at(item.step)))
        for a, b in ((item.molecules, here.molecules), (item.noise, here.noise)):
            assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("mask", *a.fields))
        assert item.draws == here.draws > 0


def test_noise_at_hand_gives_the_losses_that_making_it_gives(training):
    item = ready(training)
    count = len(item.molecules)
    streams = Streams(0)
    with torch.no_grad():
        made = training.losses(training.network, training.loader().at(0), streams.at(0, count))
        given = training.losses(training.network, item.molecules, streams.at(0, count), item)
    assert {name: float(loss) for name, loss in made.items()} == {name: float(loss) for name, loss in given.items()}


def test_training_is_bit_equal_with_workers_and_without(config, tmp_path):
    for workers in (0, 2):
        fit(config(workers), tmp_path / str(workers), progress=False)
    weights = [(tmp_path / str(workers) / "model.safetensors").read_bytes() for workers in (0, 2)]
    assert weights[0] == weights[1]


class Readings(TorchDispatchMode):
    """Notes every operation that brings a tensor's value to the host, or whose result has a size that depends on it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if str(function) in ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default"):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("hint", [0.0, 1.0])
def test_a_step_reads_nothing_back_from_its_device(training, monkeypatch, hint):
    """Shown on a CPU by the operations themselves; one_hot checks its input there, and not on a GPU."""
    monkeypatch.setattr(Training, "stays_on_device", True)
    monkeypatch.setattr(inputs, "one_hot", lambda value, n: (value.unsqueeze(-1) == torch.arange(n)).long())
    training.objective.hint = hint
    optimizer, skips = training.configure_optimizers(), Skips()
    for step in range(2):
        item = ready(training, step)
        rng = Streams(0).at(step, len(item.molecules))
        with Readings() as readings:
            _, finite = training.descend(optimizer, item.molecules, rng, noise=item)
            training.update_average(step, finite)
            skips.note(step, finite)
        assert readings.seen == []
    assert skips.read() == []


def test_a_step_that_stays_on_its_device_is_skipped_all_the_same(training, monkeypatch):
    """Weights, moments, the count of steps and the average are bit for bit what they were."""
    monkeypatch.setattr(Training, "stays_on_device", True)
    optimizer, item = training.configure_optimizers(), ready(training)
    rng = Streams(0).at(0, len(item.molecules))

    def everything():
        moments = [value for entry in optimizer.state.values() for value in entry.values()]
        weights = [*training.network.parameters(), *training.average.parameters()]
        return [value.detach().clone() for value in [*weights, *moments]]

    def step(scale):
        def backward(total):
            (scale * total).backward()

        _, finite = training.descend(optimizer, item.molecules, rng, backward, item)
        training.update_average(5, finite)
        return bool(finite)

    assert step(1.0)
    before = everything()
    assert not step(float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(before, everything()))
    assert step(1.0)
    assert not any(torch.equal(a, b) for a, b in zip(before, everything()) if a.numel() > 1000)


def test_the_fused_optimiser_learns_as_the_plain_one(config, monkeypatch):
    """Three steps end within a thousandth of their way."""
    weights = []
    for fused in (False, True):
        monkeypatch.setattr(Training, "stays_on_device", fused)
        made = config()
        training = Training(made, Store(made.data.path))
        optimizer = training.configure_optimizers()
        for step in range(3):
            item = ready(training, step)
            rng = Streams(0).at(step, len(item.molecules))
            _, finite = training.descend(optimizer, item.molecules, rng, noise=item)
            training.update_average(step, finite)
        weights.append(torch.cat([weight.flatten() for weight in training.average.parameters()]))
    start = torch.cat([weight.detach().flatten() for weight in Training(made, training.store).network.parameters()])
    plain, fused = weights
    assert (fused - plain).norm() < 1e-3 * (plain - start).norm()


def test_flags_are_read_together_and_three_in_a_row_stop():
    skips = Skips()
    for step, finite in enumerate([True, False, False, True, False]):
        skips.note(step, torch.tensor(finite))
    assert skips.read() == [1, 2, 4]
    skips.note(5, torch.tensor(False))
    assert (skips.read(), skips.count) == ([5], 4)
    for step, finite in ((6, False), (7, True)):
        skips.note(step, torch.tensor(finite))
    with pytest.raises(UserError, match="three batches in a row .* the last at step 7"):  # steps count from one
        skips.read()
