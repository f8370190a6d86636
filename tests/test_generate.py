"""Molecule i depends on the seed and on i alone, in whatever batch and however little memory it is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import molflow
from molflow.analysis.grids import learn_grids
from molflow.build import UserError
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.generate import Model
from molflow.paths.jump import Jump
from molflow.sampling import Sampling

FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3, 6: 2}), 1.5, 3)


@pytest.fixture(scope="module")
def model():
    config = parse_config(
        {"network": {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 2}}
    )
    torch.manual_seed(0)
    made = make_model(config, FACTS)
    with torch.no_grad():
        for weight in made.network.parameters():  # as if trained: none of them zero
            weight += 0.1 * torch.randn_like(weight)
    return made


def assert_same(a, b, tolerance=1e-4):
    assert a.sizes.tolist() == b.sizes.tolist()
    n = int(a.sizes.max())
    assert torch.equal(a.atom, b.atom[:, :n])
    assert torch.equal(a.charge, b.charge[:, :n])
    assert torch.equal(a.bond, b.bond[:, :n, :n])
    assert (a.pos - b.pos[:, :n]).abs().max() < tolerance


def test_the_same_seed_gives_the_same_molecules(model):
    first = model.sample(12, steps=4, seed=3)
    assert_same(first, model.sample(12, steps=4, seed=3), tolerance=1e-12)
    other = model.sample(12, steps=4, seed=4)
    assert first.sizes.tolist() != other.sizes.tolist() or not torch.allclose(first.pos, other.pos)
    assert set(first.sizes.tolist()) <= {3, 5, 6}
    assert first.pos.isfinite().all()


def test_a_molecule_does_not_depend_on_how_many_are_made(model):
    many = model.sample(30, steps=4, seed=1)
    assert_same(model.sample(7, steps=4, seed=1), many[:7])
    how = Sampling(steps=4)
    assert_same(model.sample_ids(np.array([23, 5, 11]), 1, how), many[[23, 5, 11]])


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("solver", ["euler", "multistep", "heun", "confident"])
def test_the_network_is_given_hints_if_training_gave_it_some(share, solver, monkeypatch):
    network = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
    made = make_model(parse_config({"network": network, "loss": {"hint": share}}), FACTS)
    forward, heard = made.network.forward, []

    def hears(x, t, *, hint=None, span=None):
        heard.append(hint is not None)
        return forward(x, t, hint=hint, span=span)

    monkeypatch.setattr(made.network, "forward", hears)
    made.sample(2, steps=3, solver=solver)
    assert any(heard) == (share > 0)
    learn_grids(made, [2], n=2)
    assert any(heard) == (share > 0)


def test_sizes_can_be_asked_for(model):
    with pytest.warns(UserWarning, match="no molecules of 9 atoms in training, whose had 3 to 6"):
        assert set(model.sample(5, steps=1, atoms=9).sizes.tolist()) == {9}
    with pytest.warns(UserWarning, match="of 8 atoms"):
        assert set(model.sample(40, steps=1, atoms="4-5,8").sizes.tolist()) <= {4, 5, 8}
    with pytest.raises(UserError, match="'many' is no size"):
        model.sample(5, atoms="many")


@pytest.mark.parametrize(("n", "keywords", "message"), [(0, {}, "must be at least 1, not 0"), (-3, {}, "not -3")])
def test_nothing_to_make_is_a_mistake(model, n, keywords, message):
    with pytest.raises(UserError, match=message):
        model.sample(n, **keywords)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"grid": "cubic"}, "unknown time grid 'cubic'; choose from"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"haste": -1.0}, "haste must be above 0, not -1.0"),
        ({"composition": -1.0}, "composition must be 0 or more, not -1.0"),
        ({"valences": -1.0}, "valences must be 0 or more, not -1.0"),
        ({"precision": "bf61"}, "unknown precision 'bf61' .did you mean 'bf16'"),
        (
            {"grid": "learned"},
            "no learned grid of 50 steps; make one by `molflow tune MODEL --steps 50`, or take another",
        ),
        ({"solver": "ancestral"}, "path.pos linear is none: its noise may be paired with the data"),
        ({"solver": "eular"}, "unknown solver 'eular' .did you mean 'euler'"),
    ],
)
def test_a_way_of_sampling_that_is_none_is_named(model, keywords, message):
    with pytest.raises(UserError, match=message):
        model.sample(2, **keywords)


def test_out_of_memory_halves_the_batch_and_goes_on(model, monkeypatch):
    """What does not fit is learnt once, and the molecules are the same."""
    expected = model.sample(90, steps=2, seed=5)
    tried = []
    integrate = Model._integrate

    def scarce(self, ids, sizes, **rest):
        tried.append(len(ids) * int(sizes.max()) ** 2)
        if tried[-1] > 200:
            raise torch.OutOfMemoryError("no memory")
        return integrate(self, ids, sizes, **rest)

    monkeypatch.setattr(Model, "_integrate", scarce)
    monkeypatch.setattr(model.portions, "too_many", float("inf"))
    assert_same(model.sample(90, steps=2, seed=5), expected)
    failed = [pairs for pairs in tried if pairs > 200]
    assert failed == sorted(failed, reverse=True)
    assert 0 < len(failed) < 6
    tried.clear()
    model.sample(90, steps=2, seed=5)
    assert len(tried) > 0
    assert max(tried) <= min(failed)


def test_the_word_of_a_cpu_for_it_is_understood_and_other_errors_are_not_hidden(model, monkeypatch):
    words = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"

    def scarce(self, ids, sizes, **rest):
        raise RuntimeError(words)

    monkeypatch.setattr(Model, "_integrate", scarce)
    monkeypatch.setattr(model.portions, "too_many", float("inf"))
    with pytest.raises(UserError, match="one molecule of [356] atoms does not fit into the memory of cpu"):
        model.sample(9, steps=1)
    words = "a bug"
    with pytest.raises(RuntimeError, match="a bug"):
        model.sample(9, steps=1)


def test_every_state_on_the_way_can_be_watched(model):
    seen = []
    model.sample_ids(np.arange(1), 0, Sampling(steps=4, grid="linear"), watch=lambda t, x: seen.append((t, x)))
    assert [t for t, _ in seen] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert_same(seen[-1][1], model.sample(1, steps=4, grid="linear"))
    assert seen[0][1].pos.mean(1).abs().max() < 1e-5


def test_evaluations_are_reported(model):
    for solver, evaluations in (("multistep", 4), ("midpoint", 8), ({"name": "rk4"}, 15)):
        model.sample(2, steps=4, solver=solver)
        assert model.evaluations == evaluations
    model.sample(2, steps=1, solver={"name": "dopri5", "rtol": 0.1, "atol": 0.1})
    assert model.evaluations > 8


def test_progress_is_shown_when_asked_for(model, capsys):
    model.sample(3, steps=1)
    assert capsys.readouterr().err == ""
    model.sample(3, steps=1, progress=True)
    assert "molecule" in capsys.readouterr().err


def test_a_trajectory_leads_from_noise_to_the_molecule_of_that_number(model):
    states = model.trajectory(2, seed=5, steps=4)
    made = model.sample(3, seed=5, steps=4)[2:]
    assert len(states) == 5
    assert torch.allclose(states.pos[-1], made.pos[0, : states.pos.shape[1]], atol=1e-4)
    assert torch.equal(states.atom[-1], made.atom[0, : states.pos.shape[1]])
    assert not torch.allclose(states.pos[0], states.pos[-1], atol=1e-2)
    assert states.view(path=True, widget=False).of == 5


@pytest.mark.parametrize("solver", ["euler", "multistep", "confident", "corrector"])
def test_labels_that_are_known_before_the_end_are_kept_to_it(solver):
    """The clock of a path with a large lead reaches its end, in double precision, while coordinates are under way."""
    model = molflow.load("small", "cpu")
    for name, path in model.path.paths.items():
        if path.discrete:
            model.path.paths[name] = Jump(path.states, lead=8.0)
    made = model.sample(2, steps=50, solver=solver, atoms=5, valences=0, composition=0)
    assert made.pos.isfinite().all()
