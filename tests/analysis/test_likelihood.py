"""The density along the ODE is the density: known ones, sums to one, symmetries, and what has none."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from molflow.analysis.likelihood import Field, bits_per_dimension, dimensions, log_prob
from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import save
from molflow.chem.vocabulary import Vocabulary
from molflow.cli import main
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.data.toys import make_toy
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.generate import Model
from molflow.geometry import centre, random_rotation
from molflow.networks.network import Network
from molflow.paths.affine import Affine
from molflow.paths.joint import Joint
from molflow.paths.linear import Linear
from molflow.paths.trigonometric import Trigonometric
from molflow.paths.variance_exploding import VarianceExploding
from molflow.paths.variance_preserving import VariancePreserving
from molflow.priors.ball import Ball
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng

NOISE = 1.3


class Mixture(Network):
    """The best prediction for data of K equal Gaussians of width ``spread`` about ``means`` [K, D]: E[x1 | x_t]."""

    def __init__(self, path: Affine, means: torch.Tensor, spread: float):
        super().__init__()
        self.path: Any = path
        self.means, self.spread = means.double(), spread
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, t, *, hint=None):
        assert hint is None
        alpha, sigma = self.path.levels(t.double(), x.pos)
        variance = (alpha * self.spread) ** 2 + (sigma * NOISE) ** 2
        away = x.pos.unsqueeze(-2) - alpha.unsqueeze(-1) * self.means  # [B, N, K, D]
        share = (-away.square().sum(-1) / (2 * variance)).softmax(-1)
        ends = self.means + (alpha * self.spread**2 / variance).unsqueeze(-1) * away
        end = (share.unsqueeze(-1) * ends).sum(-2)
        if self.path.predicts == "preconditioned":  # what the path will read this endpoint from
            end = x.pos + ((alpha**2 + sigma**2) * end - alpha * x.pos) / sigma
        return {"pos": end}


def model_of(path, means, spread, centred=False) -> Model:
    means = torch.as_tensor(means)
    prior = Product([Gaussian("pos", means.shape[1], NOISE, centred)])
    network = Mixture(path, means, spread)
    return Model(network, Joint({"pos": path}), prior, Vocabulary(), Sizes({1: 1}), dim=means.shape[1])


def gaussian_log_prob(pos, mask, spread, centred):
    """By hand: N(0, spread^2) of the coordinates, in the space of zero mean where they are centred."""
    dims = (mask.sum(1) - int(centred)) * pos.shape[-1]
    return -pos.square().sum((1, 2)) / (2 * spread**2) - dims * (math.log(spread) + math.log(2 * math.pi) / 2)


@pytest.mark.parametrize("path", [Linear(), Trigonometric(), VariancePreserving(), VarianceExploding(largest=100.0)])
@pytest.mark.parametrize("centred", [True, False])
def test_gaussian_data_have_their_known_density(path, centred):
    """Clouds of 2 and 3 atoms; centred ones have two and four dimensions in the plane."""
    model = model_of(path, torch.zeros(1, 2), 0.6, centred)
    like = Batch.of_sizes([2, 3, 3])
    pos = torch.randn(3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.6
    x = like.replace(pos=pos.masked_fill(~like.mask.unsqueeze(-1), 0))
    if centred:
        x = x.replace(pos=centre(x.pos, x.mask))
    expected = gaussian_log_prob(x.pos, x.mask, 0.6, centred)
    assert dimensions(model, x).tolist() == ([2, 4, 4] if centred else [4, 6, 6])
    steps = 100 if isinstance(path, VarianceExploding) else 50
    torch.testing.assert_close(log_prob(model, x, steps=steps), expected, rtol=0, atol=1e-3)


def test_one_point_of_a_standard_normal():
    """log p(0) = -log(2 pi) = -1.8379 in the plane, which is 1.3257 bits a dimension."""
    model = model_of(Linear(), torch.zeros(1, 2), 1.0)
    found = model.log_prob(Batch.of_points(torch.zeros(1, 1, 2)))
    assert float(found) == pytest.approx(-1.8379, abs=1e-3)
    assert bits_per_dimension(found, torch.tensor([2]))[0] == pytest.approx(1.3257, abs=1e-3)


MEANS = torch.tensor([[-1.0, 0.5], [1.0, 0.0], [0.3, -1.0]])


def test_a_mixture_in_the_plane_has_its_density_and_integrates_to_one():
    model = model_of(Linear(), MEANS, 0.3)
    h = 0.15
    axis = torch.arange(-18, 19, dtype=torch.float64) * h
    points = torch.cartesian_prod(axis, axis)[:, None]  # [37^2, 1, 2]
    found = log_prob(model, Batch.of_points(points)).exp()
    away = (points - MEANS).square().sum(-1)
    known = (-away / (2 * 0.09)).exp().mean(1) / (2 * math.pi * 0.09)
    torch.testing.assert_close(found, known, rtol=0, atol=1e-3)
    assert float(found.sum() * h**2) == pytest.approx(1, abs=1e-3)


def untrained(centred=True, fields=("pos",)):
    facts = Facts(Vocabulary(("H", "C"), (), (0, 1)), Sizes({5: 1}), 1.4, 3)
    small = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 2}
    labels = {"pos": "linear", "atom": "jump", "charge": "jump", "bond": "jump"}
    values = {"network": small, "data": {"fields": list(fields), "centred": centred}, "path": labels}
    torch.manual_seed(0)
    model = make_model(parse_config(values), facts)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    model.network.double()
    return model


def clouds(sizes=(3, 4)):
    x = Gaussian("pos", 3, 1.4)(Batch.of_sizes(list(sizes)), Rng.of(0, len(sizes)))
    return x.replace(pos=x.pos.double())


def test_the_density_of_any_network_in_the_plane_integrates_to_one():
    """A network that is no optimum of anything: its flow still moves mass, and neither makes nor loses any."""
    facts = Facts(Vocabulary(), Sizes({1: 1}), 1.0, 2)
    values = {"network": {"name": "pointwise", "width": 16, "layers": 2}, "data": {"fields": ["pos"], "centred": False}}
    torch.manual_seed(1)
    model = make_model(parse_config(values), facts)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight += 0.2 * torch.randn_like(weight)
        model.network.move.weight *= 0.2
        model.network.move.bias *= 0.2
    h = 0.15
    axis = torch.arange(-40, 41) * h
    points = torch.cartesian_prod(axis, axis)[:, None]
    density = log_prob(model, Batch.of_points(points), last=0.05).exp()
    assert float(density.sum() * h**2) == pytest.approx(1, abs=5e-3)


def test_symmetries_of_the_network_are_those_of_the_density():
    model, x = untrained(), clouds()
    order = torch.tensor([[2, 0, 1, 3], [3, 1, 0, 2]])
    turned = x.pos @ random_rotation(torch.randn(3, 3, dtype=torch.float64)).T
    moved = (x.pos + 3.0).masked_fill(~x.mask.unsqueeze(-1), 0)
    same = Batch.cat([x, x.replace(pos=turned), x.replace(pos=moved), x.permute(order)])
    log_p = log_prob(model, same, steps=2).view(4, 2)
    assert float((log_p[:, 0] - log_p[:, 1]).abs().min()) > 0.1
    torch.testing.assert_close(log_p, log_p[:1].expand(4, 2), rtol=0, atol=1e-6)


def test_a_molecule_does_not_depend_on_its_neighbours_or_on_padding():
    model, x = untrained(), clouds()
    for probes in (None, 2):
        together = log_prob(model, x, steps=1, probes=probes)
        torch.testing.assert_close(log_prob(model, x.pad_to(5), steps=1, probes=probes), together, rtol=0, atol=1e-9)
        assert float(log_prob(model, x[:1], steps=1, probes=probes)) == pytest.approx(float(together[0]), abs=1e-9)


def test_the_mean_over_random_signs_is_the_trace():
    """Copies of one cloud, each with signs of its own."""
    model, x = untrained(), clouds()[[1] * 200]
    exact = float(Field(model, x[:1], 1e-3, None)(x.pos[:1], 0.4)[1])
    signs = torch.randint(0, 2, (1, *x.pos.shape), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    each = Field(model, x, 1e-3, signs)(x.pos, 0.4)[1]
    assert float(each.std()) > 1e-3
    assert abs(float(each.mean()) - exact) < 4 * float(each.std()) / math.sqrt(200)


def test_densities_by_random_signs_scatter_about_the_exact_one():
    model, x = untrained(), clouds()[[1] * 200]
    exact, each = float(log_prob(model, x[:1], steps=1)), log_prob(model, x, steps=1, probes=1)
    assert abs(float(each.mean()) - exact) < 4 * float(each.std()) / math.sqrt(200)
    assert torch.equal(each, log_prob(model, x, steps=1, probes=1))
    more = log_prob(model, x, steps=1, probes=4, seed=1)
    assert float(more.std()) == pytest.approx(float(each.std()) / 2, rel=0.25)


def test_held_over_the_last_bit_it_nears_the_density():
    """The rest falls as its square: 16 times for a quarter of it."""
    model = model_of(Linear(), torch.zeros(1, 2), 0.5)
    x = Batch.of_points(torch.zeros(1, 1, 2, dtype=torch.float64))
    known = gaussian_log_prob(x.pos, x.mask, 0.5, False)
    off = [float((log_prob(model, x, last=last) - known).abs()) for last in (0.08, 0.02)]
    assert off[0] / off[1] == pytest.approx(16, rel=0.25)


def test_models_without_a_density_say_so(monkeypatch):
    with pytest.raises(UserError, match=r"makes atom, bond together.*they jump by chance.*data.fields=\[pos\]"):
        log_prob(untrained(fields=("pos", "atom", "bond")), clouds())
    model = untrained()
    for keywords, message in (({"probes": 0}, "probes must be"), ({"last": 1.0}, "last must"), ({"steps": 0}, "steps")):
        with pytest.raises(UserError, match=message):
            log_prob(model, clouds(), **keywords)
    model.prior = Product([Uniform("pos", 3)])
    model.prior.priors[0].centred = True  # type: ignore
    with pytest.raises(UserError, match="its density is not known"):
        log_prob(model, clouds())
    model.prior = Product([Ball("pos", 3)])
    monkeypatch.setattr("molflow.analysis.likelihood.Field", None)  # before anything is integrated
    with pytest.raises(UserError, match="density"):
        log_prob(model, clouds())
    model.prior, model.network.symmetries = Product([Gaussian("pos", 3)]), frozenset()
    with pytest.raises(UserError, match="moves their centres"):
        log_prob(model, clouds())


def test_bits_of_two_molecules_by_hand():
    """12 and 30 bits in 6 and 12 dimensions: 42 / 18; residuals -2 and 2, so an error of 2 sqrt(2) / 9 / sqrt(2)."""
    mean, error = bits_per_dimension(-torch.tensor([12.0, 30.0]) * math.log(2), torch.tensor([6, 12]))
    assert (mean, error) == (pytest.approx(42 / 18), pytest.approx(2 / 9))
    assert np.isnan(bits_per_dimension(torch.tensor([1.0]), torch.tensor([6]))[1])


def test_the_command_tells_and_writes_all(tmp_path, capsys):
    store = make_toy(tmp_path / "moons.safetensors", "moons", n=50)
    values = {"data": {"fields": ["pos"], "centred": False}, "network": {"name": "pointwise", "width": 8}}
    config = parse_config(values)
    facts = Facts.of(store, config)
    save(tmp_path / "model", make_model(config, facts).network.state_dict(), config, facts, {})
    out = tmp_path / "l.json"
    line = ["likelihood", str(tmp_path / "model"), str(store.path), "--device", "cpu", "--json", str(out)]
    assert main([*line, "--n", "5", "--steps", "4", "--exact"]) == 0
    text = capsys.readouterr().out
    assert "5 clouds" in text
    assert "4 steps, exact divergence" in text
    figures = json.loads(out.read_text())
    assert figures["molecules"]["dimensions"] == [2] * 5
    assert figures["nats"]["value"] == pytest.approx(sum(figures["molecules"]["log_prob"]) / 5)
    assert figures["bits_per_dimension"]["value"] == pytest.approx(-figures["nats"]["value"] / 2 / math.log(2))
    assert main([*line, "--overwrite", "--n", "1", "--steps", "4"]) == 0
    alone = json.loads(out.read_text(), parse_constant=pytest.fail)  # of one there is no error, and JSON has no NaN
    assert alone["bits_per_dimension"]["error"] is None
    for options, words in (
        (["--n", "5"], "exists"),
        (["--overwrite", "--n", "0"], "--n must be at least 1"),
        (["--overwrite", "--steps", "0"], "steps must be at least 1"),
    ):
        assert main([*line, *options]) == 2
        assert words in capsys.readouterr().err
    assert main(["likelihood", "small", str(store.path)]) == 2
    assert "has 2 dimensions" in capsys.readouterr().err
