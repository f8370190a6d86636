"""Compiled layers compute what the layers say, for the shapes that are common, and others run as written."""

from __future__ import annotations

import shutil

import pytest
import torch

from molflow.config import parse_config
from molflow.data.loader import BatchPlan
from molflow.data.store import Store
from molflow.training import Training
from molflow.training.compiling import Compiled, common_shapes
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
    Compiled(network, "graphs", [])
    assert compiled[-1] == (network, {"mode": "reduce-overhead", "dynamic": False})


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
            loss = training.objective.total(training.losses(training.network, item.molecules, rng, item))
            loss.backward()
            gradients.append(torch.cat([weight.grad.flatten() for weight in training.network.parameters()]))
    plain, again, compiled, rare = gradients
    assert torch.equal(plain, again)
    assert torch.equal(plain, rare)
    assert (compiled - plain).norm() < 1e-4 * plain.norm()
    assert programs.frame_count == 2
