"""Compiled layers compute what the layers say, for the shapes that are common, and others run as written."""

from __future__ import annotations

import shutil

import pytest
import torch

from molflow.build import UserError
from molflow.config import parse_config
from molflow.data.loader import BatchPlan
from molflow.data.store import Store
from molflow.training import Training, compiling
from molflow.training.compiling import Compiled, Graphs, common_shapes
from molflow.training.stream import Item, Pairing, Streams

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 4}


def test_common_shapes_are_those_that_come_often():
    """A hundred batches of 2 molecules of 5 atoms, and one left-over molecule."""
    plan = BatchPlan([5] * 201, pairs=50)
    assert common_shapes(plan) == [(2, 5)]


def test_layers_are_compiled_and_the_rest_of_the_network_is_not(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **keywords: compiled.append((self, keywords)))
    network = torch.nn.Module()
    network.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    Compiled(network, "none", [])
    assert compiled == []
    Compiled(network, "layers", [])
    assert compiled == [(layer, {"dynamic": False}) for layer in network.layers]


NATIVE = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile on a CPU needs a C++ compiler"),
]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=NATIVE)])
def test_compiled_layers_give_the_gradient_of_those_that_are_not(few_molecules, backend):
    """One program for the first layer, whose coordinates need no gradient, and one for the rest; no break in either.

    A batch of a rare shape compiles nothing more.
    """
    from torch._dynamo.testing import CompileCounterWithBackend

    values = {"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK}
    gradients, programs = [], CompileCounterWithBackend(backend)
    for how in ("none", "layers"):
        config = parse_config({**values, "train": {"compile": how, "device": "cpu"}})
        training = Training(config, Store(config.data.path))
        if how == "layers":
            for layer in training.network.layers:
                layer.compile(dynamic=False, backend=programs, fullgraph=True)
        training.objective.hint = 0.0
        pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in training.network.parameters():
                weight += 0.1 * torch.randn_like(weight)
        for common in (True, False):
            item = pairing(Item(3, training.loader().at(3)))
            training.compiled.shapes = frozenset([tuple(item.molecules.mask.shape)] if common else [])
            training.network.zero_grad()
            rng = Streams(0).at(3, len(item.molecules))
            loss = training.objective.total(training.losses(training.compiled, item.molecules, rng, item))
            loss.backward()
            gradients.append(torch.cat([weight.grad.flatten() for weight in training.network.parameters()]))
    plain, again, compiled, rare = gradients
    assert torch.equal(plain, again)
    assert torch.equal(plain, rare)
    assert (compiled - plain).norm() < 1e-4 * plain.norm()
    assert programs.frame_count == 2


@pytest.fixture
def imitated(monkeypatch):
    """A device that records: what is done again fills the memory of the first time."""
    recorded = []

    def record(function, pool):
        made = function()
        memory = [value.detach() for value in made]

        def replay():
            with torch.enable_grad():
                again = [value.detach().clone() for value in function()]
            for old, new in zip(memory, again):
                old.copy_(new)

        recorded.append(function)
        return made, replay

    monkeypatch.setattr(compiling, "_record", record)
    monkeypatch.setattr(compiling, "_warm_up", lambda function: function())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1), raising=False)
    return recorded


def test_replayed_passes_give_the_gradient_of_those_that_are_not(few_molecules, imitated):
    """Other molecules of the same shape, with a hint and without, and a second time over: nothing of others is left."""
    config = parse_config({"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK})
    training = Training(config, Store(config.data.path))
    with torch.no_grad():
        for weight in training.network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
    item = pairing(Item(3, training.loader().at(3)))
    turned = item._replace(molecules=item.molecules[list(range(len(item.molecules)))[::-1]])
    graphs = Graphs(training.network)

    def gradient(network, item, hint):
        training.objective.hint = hint
        training.network.zero_grad()
        rng = Streams(0).at(3, len(item.molecules))
        training.objective.total(training.losses(network, item.molecules, rng, item)).backward()
        return torch.cat([weight.grad.flatten() for weight in training.network.parameters()])

    for hint in (0.0, 1.0, 0.0, 1.0):
        for given in (item, turned):
            assert torch.allclose(gradient(graphs, given, hint), gradient(training.network, given, hint), atol=1e-6)
    assert not torch.allclose(gradient(graphs, item, 1.0), gradient(graphs, turned, 1.0), atol=1e-6)
    assert len(imitated) == 4, "two passes without a hint, and two with it"


def test_a_device_that_records_nothing_is_told(few_molecules):
    config = parse_config({"data": {"path": str(few_molecules)}, "network": NETWORK, "train": {"compile": "graphs"}})
    training = Training(config, Store(config.data.path))
    with pytest.raises(UserError, match=r"train\.compile=graphs is for a CUDA device, and this is cpu: take layers"):
        training.losses(training.compiled, training.loader().at(0), Streams(0).at(0, 1))
