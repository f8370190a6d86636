"""A leap asks the network how far it is to go, and only of a network that can tell."""

from __future__ import annotations

import math

import pytest
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.flow import Flow
from molflow.paths.joint import Joint
from molflow.paths.linear import Linear
from molflow.sampling import Sampling
from molflow.solvers.ddim import DDIM
from molflow.solvers.integrate import integrate
from molflow.solvers.leap import Leap

FACTS = Facts(Vocabulary(("H", "C"), (), (0, 1)), Sizes({3: 1, 5: 3}), 1.5, 3)
TINY = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
TIMES = [0.0, 0.5, 0.75, 1.0]


class Growth:
    """dx/dt = x, by a network that knows where it leads: x exp(span), from an endpoint held that long."""

    def __init__(self):
        self.asked = []

    def __call__(self, x, t, *, hint=None, span=None):
        if span is None:
            return {"pos": x.pos + (1 - t[:, None, None]) * x.pos}
        self.asked.append(span.tolist())
        t, span = t[:, None, None], span[:, None, None]
        return {"pos": x.pos * (1 + (1 - t) * torch.expm1(span) / span)}


def test_the_network_is_asked_for_the_span_of_each_step_and_no_other_solver_asks():
    network, x = Growth(), Batch.of_points(torch.ones(2, 1, 1))
    integrate(Flow(network, Joint({"pos": Linear()})), x, TIMES, DDIM(), None)
    assert network.asked == []
    integrate(Flow(network, Joint({"pos": Linear()})), x, TIMES, Leap(), None)
    assert network.asked == [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]]


def test_leaps_that_are_known_are_exact_however_long():
    """From 1 the growth leads to e in one leap, where an Euler step leads to 2."""
    x = Batch.of_points(torch.ones(1, 1, 1, dtype=torch.float64))
    for solver, expected in ((Leap(), math.e), (DDIM(), 2.0)):
        y = integrate(Flow(Growth(), Joint({"pos": Linear()})), x, [0.0, 1.0], solver, None)
        assert y.pos.item() == pytest.approx(expected)
    y = integrate(Flow(Growth(), Joint({"pos": Linear()})), x, TIMES, Leap(), None)
    assert y.pos.item() == pytest.approx(math.e)


def test_a_model_that_knows_no_spans_refuses_to_leap():
    model = make_model(parse_config({"network": TINY}), FACTS)
    for ask in (lambda: model.times(Sampling(solver="leap")), lambda: model.sample(2, steps=2, solver="leap")):
        with pytest.raises(UserError, match="leap leaps, and this model's network knows no spans: .*network.span=true"):
            ask()


def test_a_network_that_never_leapt_samples_as_its_flow_does():
    torch.manual_seed(0)
    model = make_model(parse_config({"network": {**TINY, "span": True}}), FACTS)
    leapt, held = (model.sample(3, steps=2, seed=1, solver=solver) for solver in ("leap", "ddim"))
    assert torch.equal(leapt.pos, held.pos) and torch.equal(leapt.bond, held.bond)
