"""Straight ways are found straight, turns as bent as geometry says, and couplings as short as they make them."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from torch import nn

import molflow
from molflow.analysis.straightness import coupling_costs, of_ways, straightness, ways
from molflow.checkpoint import CONFIG, pretrained
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.data.toys import make_toy
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.generate import Model
from molflow.networks.network import Network
from molflow.paths.joint import Joint
from molflow.paths.linear import Linear
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling


class Shift(Network):
    """x1 = x0 + (2, 0): the velocity is the same everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, 0.0]))

    def forward(self, x, t, *, hint=None):
        return {"pos": x.pos + (1 - t)[:, None, None] * self.weight}


class Turn(Network):
    """u = theta (-y, x): every point goes round the origin by theta."""

    def __init__(self, theta: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.0, theta], [-theta, 0.0]]))

    def forward(self, x, t, *, hint=None):
        return {"pos": x.pos + (1 - t)[:, None, None] * (x.pos @ self.weight)}


def model_of(network: Network) -> Model:
    prior = Product([Gaussian("pos", 2, 1.0, centred=False)])
    return Model(network, Joint({"pos": Linear()}), prior, Vocabulary(), Sizes({1: 1, 3: 1}), dim=2)


def test_a_straight_field_is_straight():
    found = straightness(model_of(Shift()), 20, steps=7)
    assert found.value == pytest.approx(0, abs=1e-10)
    assert found.detour == pytest.approx(1, abs=1e-5)
    assert found.transport == pytest.approx(4, abs=1e-4)  # 2^2 an atom
    assert (found.molecules, found.evaluations, len(found.curve)) == (20, 7, 7)


@pytest.mark.parametrize("theta", [0.5, math.pi / 2, math.pi])
def test_a_turn_is_as_bent_as_geometry_says(theta):
    """|u| = theta r over a chord of 2 r sin(theta / 2): S = theta^2 / (4 sin^2(theta / 2)) - 1."""
    found = straightness(model_of(Turn(theta)), 30, steps=1000, grid="linear")
    chord = 2 * math.sin(theta / 2)
    assert found.value == pytest.approx((theta / chord) ** 2 - 1, rel=0.02, abs=1e-4)
    assert found.detour == pytest.approx(theta / chord, rel=0.01)
    assert max(found.curve) - min(found.curve[1:-1]) > -1e-6
    assert found.error < 1e-3, "every way is the same arc"


def test_ways_begin_at_the_noise_and_end_at_the_samples():
    model = model_of(Turn(1.0))
    found = ways(model, 12, Sampling(steps=5))
    assert sum(mask.shape[0] for _, _, mask in found) == 12
    for times, states, mask in found:
        assert (times[0], times[-1], len(times)) == (0.0, 1.0, 6)
        assert states.shape == (6, *mask.shape, 2)
    last = torch.cat([states[-1][mask] for _, states, mask in found])
    made = model.sample(12, steps=5)
    assert torch.equal(last.sort(0).values, made.pos[made.mask].sort(0).values)


def test_padding_counts_for_nothing():
    times = [0.0, 0.5, 1.0]
    states = torch.randn(3, 2, 4, 2)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    spoilt = torch.where(mask[None, :, :, None], states, 99 * torch.randn(3, 2, 4, 2))
    assert of_ways([(times, states, mask)]).value == pytest.approx(of_ways([(times, spoilt, mask)]).value)


def test_what_a_coupling_does_to_the_way(tmp_path):
    """The cost before is the mean of |x1 - x0|^2 over the pairs as they come."""
    store = make_toy(tmp_path / "moons.safetensors", "moons", n=200)
    values = {
        "data": {"fields": ["pos"], "centred": False},
        "network": {"name": "pointwise", "width": 8},
        "coupling": [{"name": "minibatch_ot"}],
    }
    config = parse_config(values)
    model = make_model(config, Facts.of(store, config))
    batch = store.batch(range(100))
    found = coupling_costs(make_objective(config, model), model.vocabulary.encode, [batch], seed=3)
    x0 = model.prior(batch, Rng.of(3, 100))
    before = next(value for name, value in found.items() if name.endswith("cost before"))
    after = next(value for name, value in found.items() if name.endswith("cost after"))
    assert before == pytest.approx(float((batch.pos - x0.pos).square().sum((1, 2)).mean()), rel=1e-5)
    assert after < 0.7 * before


def test_the_pairs_of_a_student_are_told_without_its_teacher(tmp_path, capsys):
    store = make_toy(tmp_path / "moons.safetensors", "moons", n=50)
    from molflow.checkpoint import save

    values = {"data": {"fields": ["pos"], "centred": False}, "network": {"name": "pointwise", "width": 8}}
    config = parse_config({**values, "coupling": ["independent"], "objective": "distill"})
    facts = Facts.of(store, config)
    weights = make_model(config, facts).network.state_dict()
    save(tmp_path / "student", {name: value + 0.2 for name, value in weights.items()}, config, facts, {})
    line = ["straightness", str(tmp_path / "student"), "--n", "4", "--steps", "3", "--device", "cpu"]
    assert main([*line, "--data", str(store.path)]) == 0
    assert "the coupling on 4 molecules" in capsys.readouterr().out


def test_it_is_a_name_of_the_package():
    assert molflow.straightness is straightness


def test_the_command_tells_and_writes_all(tmp_path, capsys):
    store = make_toy(tmp_path / "moons.safetensors", "moons", n=50)
    from molflow.checkpoint import save

    values = {"data": {"fields": ["pos"], "centred": False}, "network": {"name": "pointwise", "width": 8}}
    config = parse_config({**values, "coupling": ["independent"]})
    facts = Facts.of(store, config)
    network = make_model(config, facts).network
    save(tmp_path / "untrained", network.state_dict(), config, facts, {})
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.2
    save(tmp_path / "model", network.state_dict(), config, facts, {})
    out = tmp_path / "s.json"
    few = ["--n", "8", "--steps", "12", "--device", "cpu", "--json", str(out)]
    assert main(["straightness", str(tmp_path / "model"), *few, "--data", str(store.path)]) == 0
    text = capsys.readouterr().out
    assert "straightness: " in text
    assert text.count("  t ") == 6
    assert "cost before" in text
    figures = json.loads(out.read_text())
    assert figures["evaluations"] == 12
    assert len(figures["curve"]) == 12
    assert main(["straightness", str(tmp_path / "model"), *few]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["straightness", str(tmp_path / "untrained"), "--n", "8", "--steps", "2"]) == 2
    assert "moves nothing" in capsys.readouterr().err


def test_a_student_tells_of_its_coupling_too(root, tmp_path):
    shutil.copytree(pretrained()["small"], tmp_path / "student")
    card = json.loads((tmp_path / "student" / CONFIG).read_text())
    card["config"]["train"]["teacher"] = "small"
    (tmp_path / "student" / CONFIG).write_text(json.dumps(card))
    line = ["straightness", str(tmp_path / "student"), "--n", "2", "--steps", "2", "--device", "cpu"]
    data = str(root / "data" / "small.safetensors")
    assert main([*line, "--data", data, "--json", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text())["coupling"]
