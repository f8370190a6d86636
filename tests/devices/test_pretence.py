"""What a GPU runs, on a device of pretence: the same numbers as here, no two devices in one operation, no waiting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretence import PLACE

import molflow
from molflow.analysis.grids import learn_grids
from molflow.analysis.straightness import straightness
from molflow.config import read_config
from molflow.couplings import COUPLINGS
from molflow.data.store import Store
from molflow.solvers import SOLVERS
from molflow.times import TIMES
from molflow.training import Training
from molflow.training.stream import Item, Pairing, Streams

CPU = torch.device("cpu")
NETWORK = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 2}
ONE_HOT = {"path.atom": "one_hot", "path.bond": "one_hot", "prior.atom": "gaussian", "prior.bond": "gaussian"}
STEPS = {
    "as it is": {},
    "egnn": {"network": "egnn"},
    "tensor_field": {"network": "tensor_field"},
    "pointwise": {"network": "pointwise", "coupling": [{"name": "align", "rotate": False}]},
    "relay": {"network": {"name": "relay", "runners": [NETWORK, NETWORK]}},
    **{f"{key} {value}": {f"network.{key}": value} for key, value in (("census", True), ("triangles", 4))},
    "recomputed": {"network.recompute": True},
    **{name: {"coupling": [name]} for name in COUPLINGS if name != "reflow"},
    **{name: {"path.pos": name} for name in ("trigonometric", "interpolant", "custom")},
    **{name: {"path.pos": name, "coupling": []} for name in ("variance_preserving", "variance_exploding")},
    "one-hot labels": ONE_HOT,
    **{name: {"prior.pos": name} for name in ("sized", "harmonic", "ball")},
    **{f"{name} labels": {"prior.atom": name, "prior.bond": name} for name in ("mask", "marginal")},
    **{f"times {name}": {"times": name} for name in TIMES},
    "shortcut": {"network.span": True, "objective": "shortcut"},
    "student": {"network": "dense", "objective": "distill", "train.teacher": "small"},
    "distances": {"loss.weights.distances": 0.5},
}
WAITING = {"egnn", "tensor_field", "relay", "student"}  # these count edges, or ask who goes: no one program


@pytest.fixture
def steps(root, few_molecules):
    """(changes, place, apart) -> the loss, the gradient, and what was waited for in a step once one has been taken.

    ``apart``: noise and pairing are made here, as by a worker, and the step is given both.
    """

    def run(changes, place, apart, waits=()):
        given = {"network": NETWORK, "data.path": str(few_molecules), "data.pairs": 1500, "train.precision": "fp32"}
        config = read_config(root / "configs" / "small.yaml", {**given, **changes})
        training = Training(config, Store(config.data.path)).to(place)
        item = Item(3, training.loader().at(3))
        if apart:
            item = Pairing(training.objective, training.model.vocabulary, Streams(0))(item)
        item = item.to(place)
        for _ in range(2):
            before = len(waits)
            training.network.zero_grad()
            rng = Streams(0).at(3, len(item.molecules), place)
            losses = training.losses(training.compiled, item.molecules, rng, item if apart else None)
            total = training.objective.total(losses)
            total.backward()
            torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
            training.update_average(3)
        waited = list(waits[before:])
        gradient = [weight.grad.cpu().flatten() for weight in training.network.parameters() if weight.grad is not None]
        return total.detach().cpu(), torch.cat(gradient), waited

    return run


@pytest.mark.parametrize("changes", STEPS.values(), ids=STEPS)
def test_a_step_there_is_as_here_and_waits_for_nothing(steps, elsewhere, request, changes):
    loss, gradient, _ = steps(changes, CPU, apart=True)
    with elsewhere() as waits:
        there, turned, waited = steps(changes, PLACE, apart=True, waits=waits)
    torch.testing.assert_close(there, loss)
    torch.testing.assert_close(turned, gradient, rtol=1e-3, atol=1e-5)
    assert not waited or request.node.callspec.id in WAITING


@pytest.mark.parametrize("changes", STEPS.values(), ids=STEPS)
def test_noise_and_pairing_may_be_made_there(steps, elsewhere, changes):
    loss, gradient, _ = steps(changes, CPU, apart=False)
    with elsewhere():
        there, turned, _ = steps(changes, PLACE, apart=False)
    torch.testing.assert_close(there, loss)
    torch.testing.assert_close(turned, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name not in ("ancestral", "leap", "dopri5")])
@pytest.mark.parametrize("name", ["qm9", "qm9-relay"])
def test_samples_are_those_of_here_and_no_step_waits(elsewhere, name, solver):
    """More steps wait for no more: what is waited for is what goes there before the first and comes back at the end."""
    here = molflow.load(name).sample(2, solver=solver, steps=3)
    with elsewhere() as waits:
        model, counts = molflow.load(name).to(PLACE), []
        for steps in (2, 3):
            before = len(waits)
            there = model.sample(2, solver=solver, steps=steps)
            counts.append(len(waits) - before)
    assert counts[0] == counts[1] > 0
    torch.testing.assert_close(there.pos, here.pos, rtol=0, atol=1e-3)
    assert torch.equal(there.atom, here.atom)
    assert torch.equal(there.bond, here.bond)


def test_formulas_ways_and_grids(elsewhere, monkeypatch):
    monkeypatch.setattr("molflow.analysis.grids.FINE", 8)
    model = molflow.load("qm9")
    asked, way = model.sample(2, atoms="C7H10O2", steps=3), model.trajectory(steps=3)
    line, grids = straightness(model, n=3, steps=3), learn_grids(model, [3], n=3)
    with elsewhere():
        model = molflow.load("qm9").to(PLACE)
        assert torch.equal(model.sample(2, atoms="C7H10O2", steps=3).atom, asked.atom)
        torch.testing.assert_close(model.trajectory(steps=3).pos, way.pos, rtol=0, atol=1e-3)
        assert straightness(model, n=3, steps=3).value == pytest.approx(line.value, rel=1e-3)
        np.testing.assert_allclose(learn_grids(model, [3], n=3)[3], grids[3], atol=0.01)


def test_the_pretence_tells_devices_apart_and_sees_who_waits(elsewhere):
    here = torch.arange(3.0)
    with elsewhere() as waits:
        there = here.to(PLACE)
        with pytest.raises(RuntimeError, match="two devices"):
            there + here
        doubled = 2 * there
        assert doubled.device == PLACE
        assert len(waits) == 1  # for what went there
        assert float(doubled.sum()) == 6
        assert torch.equal(doubled.cpu(), 2 * here)
        assert len(waits) == 3
