"""Compiled layers and recorded graphs compute what the layers and the optimiser say."""

from __future__ import annotations

import shutil

import pytest
import torch

from molflow.build import UserError
from molflow.config import parse_config
from molflow.data.store import Store
from molflow.training import Training, compiling
from molflow.training.compiling import Compiled, Graphs
from molflow.training.stream import Item, Pairing, Streams

NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 4}


def test_layers_are_compiled_and_the_rest_of_the_network_is_not(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **keywords: compiled.append((self, keywords)))
    network = torch.nn.Module()
    network.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    Compiled(network, "none")
    Compiled(network, "graphs")
    assert compiled == []
    Compiled(network, "layers")
    assert compiled == [(layer, {"dynamic": True}) for layer in network.layers]


NATIVE = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile on a CPU needs a C++ compiler"),
]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=NATIVE)])
def test_compiled_layers_give_the_gradient_of_those_that_are_not(few_molecules, backend):
    """Programs for the first layer, whose coordinates need no gradient, and for the rest; no break in any.

    A batch of another shape compiles nothing more.
    """
    from torch._dynamo.testing import CompileCounterWithBackend

    values = {"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK}
    config = parse_config({**values, "train": {"compile": "none", "device": "cpu", "precision": "fp32"}})
    training = Training(config, Store(config.data.path))
    training.objective.hint = 0.0
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in training.network.parameters():
            weight += 0.1 * torch.randn_like(weight)

    of_shape = {training.loader().at(step).mask.shape: step for step in range(training.batches)}
    widths = {1, 2, 4, 8, 16}  # a batch of as many molecules or atoms has a program of its own
    first, second = [step for shape, step in of_shape.items() if not widths & {*shape}][:2]

    def gradient(step):
        item = pairing(Item(step, training.loader().at(step)))
        training.network.zero_grad()
        rng = Streams(0).at(step, len(item.molecules))
        training.objective.total(training.losses(training.compiled, item.molecules, rng, item)).backward()
        return torch.cat([weight.grad.flatten() for weight in training.network.parameters()])

    plain, programs = [gradient(first), gradient(second)], CompileCounterWithBackend(backend)
    for layer in training.network.layers:
        layer.compile(dynamic=True, backend=programs, fullgraph=True)
    counts = []
    for step, written in zip((first, second), plain):
        assert (gradient(step) - written).norm() < 1e-4 * written.norm()
        counts.append(programs.frame_count)
    assert counts[0] == counts[1] < len(training.network.layers)


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

    gradient(graphs, turned, 1.0)
    assert imitated == [], "what comes for the first time runs as written"
    for hint in (0.0, 1.0, 0.0, 1.0):
        for given in (item, turned):
            assert torch.allclose(gradient(graphs, given, hint), gradient(training.network, given, hint), atol=1e-6)
    assert not torch.allclose(gradient(graphs, item, 1.0), gradient(graphs, turned, 1.0), atol=1e-6)
    assert len(imitated) == 4, "two passes without a hint, and two with it"


def test_what_a_replay_predicts_outlasts_the_next(few_molecules, imitated):
    """As an objective needs that asks the network twice before it compares."""
    config = parse_config({"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK})
    training = Training(config, Store(config.data.path))
    graphs, molecules = Graphs(training.network), training.model.vocabulary.encode(training.loader().at(3))
    t = molecules.pos.new_full((len(molecules),), 0.5)
    with torch.no_grad():
        for _ in range(2):
            first = graphs(molecules, t)
        before = {name: value.clone() for name, value in first.items()}
        graphs(molecules.replace(pos=2 * molecules.pos), t)
    assert len(imitated) == 2
    assert all(torch.equal(first[name], before[name]) for name in before)


def test_weights_of_which_some_predictions_know_nothing_are_recorded(few_molecules, imitated):
    """Coordinates do not depend on the heads, which learn alone here."""
    config = parse_config({"data": {"path": str(few_molecules), "pairs": 4000}, "network": NETWORK})
    training = Training(config, Store(config.data.path))
    for name, weight in training.network.named_parameters():
        weight.requires_grad_(name.startswith("heads"))
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(0))
    item, graphs, found = pairing(Item(3, training.loader().at(3))), Graphs(training.network), []
    training.objective.hint = 0.0
    for network in (training.network, graphs, graphs):
        training.network.zero_grad()
        rng = Streams(0).at(3, len(item.molecules))
        training.objective.total(training.losses(network, item.molecules, rng, item)).backward()
        found.append([weight.grad for weight in training.network.parameters() if weight.requires_grad])
    assert len(imitated) == 2
    for other in found[1:]:
        assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(found[0], other))


@pytest.mark.parametrize("network", ["egnn", "tensor_field"])
def test_networks_that_count_edges_are_not_recorded(few_molecules, network):
    config = parse_config({"data": {"path": str(few_molecules)}, "network": network, "train": {"compile": "graphs"}})
    with pytest.raises(UserError, match=r"a graph holds one program: take train\.compile=layers or none"):
        Training(config, Store(config.data.path))


def test_a_device_that_records_nothing_is_told(few_molecules):
    config = parse_config({"data": {"path": str(few_molecules)}, "network": NETWORK, "train": {"compile": "graphs"}})
    training = Training(config, Store(config.data.path))
    with pytest.raises(UserError, match=r"train\.compile=graphs is for a CUDA device, and this is cpu: take layers"):
        training.losses(training.compiled, training.loader().at(0), Streams(0).at(0, 1))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_replayed_step_of_the_optimiser_is_the_step(few_molecules, imitated, monkeypatch, optimizer):
    """At every learning rate, skipped where a gradient is no number; recording alone changes nothing."""
    monkeypatch.setattr(Training, "stays_on_device", True)
    train = {"optimizer": optimizer, "device": "cpu"}
    config = parse_config({"data": {"path": str(few_molecules)}, "network": NETWORK, "train": train})
    weights, moments = [], []
    for replayed in (False, True):
        training = Training(config, Store(config.data.path))
        kernel = training.configure_optimizers()
        training.compiled.graphs = Graphs(training.network) if replayed else None
        for step, (rate, scale) in enumerate([(1e-2, 1.0), (2e-2, float("nan")), (3e-3, 5.0), (1e-3, 0.1)]):
            for group in kernel.param_groups:
                group["lr"] = rate
            numbers = torch.Generator().manual_seed(step)
            for weight in training.network.parameters():
                weight.grad = scale * torch.randn(weight.shape, generator=numbers)
            assert bool(training.take(kernel)) == (step != 1)
        assert [group["lr"] for group in kernel.param_groups] == [1e-3] * len(kernel.param_groups)
        weights.append(torch.cat([weight.detach().flatten() for weight in training.network.parameters()]))
        moments.append([value for entry in kernel.state_dict()["state"].values() for value in entry.values()])
    assert len(imitated) == 1
    assert torch.equal(*weights)
    assert all(torch.equal(one, other) for one, other in zip(*moments))


def test_a_step_without_all_gradients_is_not_replayed(few_molecules, imitated, monkeypatch):
    """The weights that have none stay as they are."""
    monkeypatch.setattr(Training, "stays_on_device", True)
    config = parse_config({"data": {"path": str(few_molecules)}, "network": NETWORK, "train": {"device": "cpu"}})
    training = Training(config, Store(config.data.path))
    training.compiled.graphs = Graphs(training.network)
    kernel = training.configure_optimizers()
    first, *others = training.network.parameters()
    before, second = first.detach().clone(), others[0].detach().clone()
    for weight in others:
        weight.grad = torch.ones_like(weight)
    assert bool(training.take(kernel))
    assert torch.equal(first, before)
    assert not torch.equal(others[0], second)
