"""What every objective must do: docs/design.md, the contract of objectives."""

from __future__ import annotations

import copy

import pytest
import torch

from molflow.batch import Batch
from molflow.build import resolve
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.couplings.independent import Independent
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.objectives import OBJECTIVES
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.times.uniform import Uniform
from molflow.training.stream import Item, with_noise

FIELDS = ("pos", "atom", "bond")
WEIGHTS = {"pos": 1.0, "atom": 0.5, "bond": 0.25}
FACTS = Facts(Vocabulary(("H", "C", "N+"), (), (0, 1, 2)), Sizes({3: 1, 5: 3}), 1.5, 3)
COUNTS = {"atom": 3, "bond": 3}
LABELS = {  # prior and path of atoms and bonds
    "jumping from noise": ("uniform", "jump"),
    "jumping from masks": ("mask", "jump"),
    "straight": ("gaussian", "one_hot"),
}
VARIANTS = {"shortcut, leaps alone": {"name": "shortcut", "share": 1.0}}  # what defaults leave to chance
SEEDS = range(3)


@pytest.fixture(scope="module")
def worlds(stirred):
    """For each kind of labels a student with spans and its teacher, every weight of both moved."""
    made = {}
    for kind, (prior, path) in LABELS.items():
        network = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 1}
        values = {
            "prior": {"pos": "gaussian", "atom": prior, "bond": prior},
            "path": {"pos": "linear", "atom": path, "bond": path},
        }
        student = stirred(parse_config({**values, "network": {**network, "span": True}}), FACTS, 0, by=0.2)
        made[kind] = student, stirred(parse_config({**values, "network": network}), FACTS, 1, by=0.2)
    return made


@pytest.fixture(params=LABELS)
def world(worlds, request):
    return worlds[request.param]


@pytest.fixture(params=[*sorted(OBJECTIVES), *VARIANTS])
def name(request):
    return request.param


@pytest.fixture
def objective(name, world, make):
    student, teacher = world
    return make.member(
        "objective",
        OBJECTIVES,
        VARIANTS.get(name, name),
        prior=student.prior,
        coupling=Independent(),
        path=student.path,
        times=Uniform(),
        weights=WEIGHTS,
        sample=Sampling(steps=2),
        teacher=teacher,
    )


@pytest.fixture
def network(world):
    return world[0].network


@pytest.fixture
def x1(make):
    return make.molecules(fields=FIELDS[1:], counts=COUNTS)


def test_each_molecule_has_a_time_and_for_each_field_a_loss(objective, network, x1):
    for seed in SEEDS:
        t, losses = objective.each(network, x1, Rng.of(seed, len(x1)))
        assert t.shape == (len(x1),)
        assert t.min() >= 0 and t.max() < 1
        assert set(FIELDS) <= set(losses)
        for name, loss in losses.items():
            assert loss.shape == (len(x1),), name
            assert loss.isfinite().all() and (loss >= 0).all(), name
        assert losses["bond"][1] == 0, "an atom alone has no bonds"


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (2,)], ids=str)
def test_one_atom_will_do(objective, network, make, sizes):
    x1 = make.molecules(sizes, FIELDS[1:], counts=COUNTS)
    for seed in SEEDS:
        losses = objective(network, x1, Rng.of(seed, len(x1)))
        assert all(loss.isfinite() for loss in losses.values())


def test_the_same_stream_gives_the_same_loss_and_another_seed_another(objective, network, x1):
    a, b, c = (objective(network, x1, Rng.of(seed, len(x1))) for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in FIELDS)
    assert not torch.equal(a["pos"], c["pos"])


@torch.no_grad()
def test_it_costs_the_same_where_noise_was_paired_beforehand(objective, network, x1):
    """By worker processes, which know no network: whatever a step draws besides is drawn after its pairs."""
    for seed in SEEDS:
        rng = Rng.of(seed, len(x1))
        x0, paired = objective.pair(x1, rng)
        ready = with_noise(objective, Item(0, paired, x0, rng.draw))
        losses = ready(network, paired, Rng.of(seed, len(x1)))
        expected = objective(network, x1, Rng.of(seed, len(x1)))
        assert all(torch.equal(losses[name], expected[name]) for name in FIELDS)


@torch.no_grad()
def test_a_molecule_costs_the_same_alone_in_a_batch_and_beside_padding(objective, network, x1):
    """What a step does, its draws for the whole batch decide: the same in each. A time of its own goes with it."""
    for seed in SEEDS:
        t, together = objective.each(network, x1, Rng.of(seed, len(x1)))
        s, padded = objective.each(network, x1.pad_to(11), Rng.of(seed, len(x1)))
        assert torch.equal(s, t)
        for b in range(len(x1)):
            mine, alone = objective.each(network, x1[b], Rng(seed, torch.tensor([b])))
            assert mine[0] == t[b]
            for name in FIELDS:
                for other in (alone[name][0], padded[name][b]):
                    torch.testing.assert_close(together[name][b], other, rtol=1e-3, atol=1e-3)


def test_the_gradient_reaches_every_weight_of_the_network_and_none_of_the_teacher(objective, world, x1):
    network, teacher = copy.deepcopy(world[0].network), world[1].network
    for seed in SEEDS:
        network.zero_grad()
        objective.total(objective(network, x1, Rng.of(seed, len(x1)))).backward()
        missed = [key for key, weight in network.named_parameters() if weight.grad is None]
        assert not missed, "weights that no loss reaches stop data-parallel training"
        assert all(weight.grad.isfinite().all() for weight in network.parameters())
        assert network.embed_atoms.weight.grad.any()
    assert all(weight.grad is None for weight in teacher.parameters())


def test_only_an_objective_that_leaps_asks_for_spans(objective, world, x1):
    asked = []

    def network(x, t, *, hint=None, span=None):
        asked.append(span is not None)
        return world[0].network(x, t, hint=hint, **({} if span is None else {"span": span}))

    for seed in range(12):
        objective.each(network, x1, Rng.of(seed, len(x1)))
    assert any(asked) == objective.leaps


def test_a_network_hears_no_hint_where_none_is_taught(objective, world, x1):
    """Not of itself, nor from the solvers that an objective walks with; a teacher of hints still hears its own."""
    heard = {0.0: [], 1.0: []}
    for share, hints in heard.items():
        objective.hint, objective.hinted = share, share > 0

        def network(x, t, *, hint=None, span=None, hints=hints):
            hints.append(hint is not None)
            return world[0].network(x, t, hint=hint, span=span)

        for seed in range(12):
            objective.each(network, x1, Rng.of(seed, len(x1)))
    assert not any(heard[0.0]) and any(heard[1.0])


def test_inputs_are_left_as_they_were(objective, network, x1):
    before = {name: getattr(x1, name).clone() for name in ("mask", *FIELDS)}
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    for seed in SEEDS:
        objective(network, x1, Rng.of(seed, len(x1)))
    assert all(torch.equal(getattr(x1, name), value) for name, value in before.items())
    assert all(torch.equal(network.state_dict()[key], value) for key, value in weights.items())


def test_a_loss_is_the_mean_over_molecules_and_the_total_weighs_them(objective, network, x1):
    _, each = objective.each(network, x1, Rng.of(0, len(x1)))
    losses = objective(network, x1, Rng.of(0, len(x1)))
    for name, loss in losses.items():
        torch.testing.assert_close(loss, each[name].mean())
    assert {name: objective.weights[name] for name in FIELDS} == WEIGHTS
    total = sum(objective.weights[name] * loss for name, loss in losses.items())  # and its own terms, by their names
    torch.testing.assert_close(objective.total(losses), total)


def test_a_cloud_without_labels_has_a_loss(name, make):
    facts = Facts(Vocabulary(), Sizes({1: 1}), 1.0, 2)
    values = {
        "data": {"fields": ["pos"], "centred": False},
        "network": {"name": "pointwise", "width": 16, "span": True},
    }
    model = make_model(parse_config(values), facts)
    objective = make.member(
        "objective",
        OBJECTIVES,
        VARIANTS.get(name, name),
        prior=model.prior,
        coupling=Independent(),
        path=model.path,
        times=Uniform(),
        weights={"pos": 1.0},
        sample=Sampling(steps=1),
        teacher=model,
        centred=False,
    )
    x1 = Batch.of_points(torch.randn(6, 1, 2, generator=torch.Generator().manual_seed(0)))
    assert objective(model.network, x1, Rng.of(0, 6))["pos"].isfinite()


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_says_what_it_is(name):
    assert resolve(OBJECTIVES[name]).__doc__
