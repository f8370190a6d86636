from __future__ import annotations

import pytest
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.networks.relay import Relay
from molflow.training.compiling import Compiled

SMALL = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
FIELDS = {"atom": (3, 3), "bond": (3, 3)}


@pytest.fixture
def relay():
    """Three runners that differ, and their six molecules of several sizes."""
    torch.manual_seed(0)
    network = Relay(FIELDS, 3, [SMALL, {**SMALL, "layers": 2}, SMALL], [0.0, 0.3, 0.6])
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.3 * torch.randn_like(weight)
    x = Batch.of_sizes([4, 7, 2, 5, 7, 3])
    bond = torch.randint(3, (6, 7, 7)).triu(1)
    x = x.replace(pos=torch.randn(6, 7, 3), atom=torch.randint(3, (6, 7)), bond=bond + bond.transpose(1, 2)).tidy()
    return network, x


@pytest.mark.parametrize("hinted", [False, True])
def test_each_molecule_is_read_by_the_runner_of_its_time(relay, hinted):
    network, x = relay
    t = torch.tensor([0.7, 0.1, 0.3, 0.59, 0.0, 0.6])
    hint = None
    if hinted:
        law = torch.randn(6, 7, 7, 3)
        hint = {
            "pos": x.pos + 1,
            "atom": torch.randn(6, 7, 3).softmax(-1),
            "bond": (law + law.transpose(1, 2)).softmax(-1),
        }
    with torch.no_grad():
        out = network(x, t, hint=hint)
        for b, leg in enumerate([2, 0, 1, 1, 0, 2]):
            alone = network.runners[leg](x, t, hint=hint)
            for name, value in out.items():
                torch.testing.assert_close(value[b][x.mask[b]], alone[name][b][x.mask[b]], rtol=1e-4, atol=1e-4)


def test_one_time_asks_one_runner(relay, monkeypatch):
    network, x = relay
    asked = []
    for k, runner in enumerate(network.runners):
        forward = runner.forward
        monkeypatch.setattr(
            runner, "forward", lambda *a, k=k, f=forward, **b: asked.append((k, len(a[0]))) or f(*a, **b)
        )
    with torch.no_grad():
        for t in (0.0, 0.29, 0.3, 0.6, 0.99):
            network(x, torch.full((6,), t))
    assert asked == [(0, 6), (0, 6), (1, 6), (2, 6), (2, 6)]


def test_every_weight_has_a_gradient_whatever_the_times(relay):
    """Zero for a runner that no molecule needs: data-parallel training waits for all of them."""
    network, x = relay
    out = network(x, torch.full((6,), 0.1))
    sum(value.square().sum() for value in out.values()).backward()
    moved = [[bool(weight.grad.any()) for weight in runner.parameters()] for runner in network.runners]
    assert any(moved[0]) and not any(moved[1]) and not any(moved[2])


@pytest.mark.parametrize(
    ("starts", "told"),
    [([0.0], "0"), ([0.1, 0.5], "0.1, 0.5"), ([0.0, 0.0], "0, 0"), ([0.0, 1.0], "0, 1"), ([], "none")],
)
def test_starts_are_one_a_runner_and_rise(starts, told):
    with pytest.raises(UserError, match=rf"2 runners have {told}$"):
        Relay(FIELDS, 3, [SMALL, SMALL], starts)


def test_no_graph_holds_it_and_its_layers_are_compiled(relay, monkeypatch):
    network, _ = relay
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **keywords: compiled.append(self))
    with pytest.raises(UserError, match=r"train\.compile=graphs.*take train\.compile=layers"):
        Compiled(network, "graphs")
    Compiled(network, "layers")
    assert compiled == [layer for runner in network.runners for layer in runner.layers]
