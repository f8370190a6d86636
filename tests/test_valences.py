"""Labels drawn together, so that the bonds of each atom fill a valence that it can have."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import molflow
from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.elements import SYMBOL, VALENCES, valences
from molflow.chem.vocabulary import Vocabulary
from molflow.flow import Flow
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.paths.one_hot import OneHot
from molflow.priors.categorical import Mask
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.solvers.confident import Confident
from molflow.solvers.ddim import DDIM
from molflow.solvers.dopri5 import DormandPrince5
from molflow.solvers.euler import Euler
from molflow.solvers.integrate import integrate
from molflow.solvers.midpoint import Midpoint
from molflow.valences import FROM, Valences

VOCABULARY = Vocabulary(("H", "C", "N", "N+"), (), (0, 1, 2, 3))
PATH = Joint({name: Jump(count) for name, count in VOCABULARY.classes.items()})


def drawing(strength=7.0, vocabulary=VOCABULARY, path=PATH):
    return Valences.of(vocabulary, path, strength)


def random_laws(sizes, seed=0, kinds=4, orders=4):
    """Of atoms and bonds, a bond's two entries alike; no bond is the likeliest, as in molecules."""
    x = Batch.of_sizes(list(sizes))
    chance = torch.Generator().manual_seed(seed)
    atom = torch.rand(*x.mask.shape, kinds, generator=chance) + 0.05
    bond = torch.rand(*x.pair_mask.shape, orders, generator=chance) + 0.05
    bond[..., 0] += 2
    bond = bond + bond.transpose(1, 2)
    return {name: p / p.sum(-1, keepdim=True) for name, p in (("atom", atom), ("bond", bond))}, x


def filled(atom, bond, x, vocabulary=VOCABULARY):
    """Of the atoms of each molecule, which have a valence that they can have."""
    orders = torch.tensor(vocabulary.bonds)[bond] * x.pair_mask.triu()
    sums = (orders + orders.transpose(1, 2)).sum(2)
    kinds = vocabulary.kinds
    return torch.tensor(
        [[int(sums[b, i]) in valences(*kinds[int(atom[b, i])]) for i in range(x.mask.shape[1])] for b in range(len(x))]
    )


def exact(end, x, strength):
    """The marginals of the joint law of one molecule, by going through all its states."""
    n = int(x.sizes[0])
    pairs = list(itertools.combinations(range(n), 2))
    p, q = torch.zeros(n, 4, dtype=torch.float64), torch.zeros(len(pairs), 4, dtype=torch.float64)
    fit = torch.full((4, 20), float(np.exp(-strength)), dtype=torch.float64)
    for k, kind in enumerate(VOCABULARY.kinds):
        fit[k, list(valences(*kind))] = 1
    atoms, told = end["atom"][0, :n].double(), end["bond"][0].tolist()
    open_to = [range(4) if told[i][j][0] < 1 else range(1) for i, j in pairs]
    for orders in itertools.product(*open_to):
        weight, sums = 1.0, [0] * n
        for (i, j), order in zip(pairs, orders):
            weight *= told[i][j][order]
            sums[i], sums[j] = sums[i] + order, sums[j] + order
        laws = torch.stack([atoms[i] * fit[:, sums[i]] for i in range(n)])  # given the bonds, atoms are apart
        whole = weight * laws.sum(-1).prod()
        p += whole * laws / laws.sum(-1, keepdim=True)
        for k, order in enumerate(orders):
            q[k, order] += whole
    return p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True), pairs


def star(n, seed):
    """Laws of an atom with neighbours that have no bonds with one another."""
    end, x = random_laws([n], seed)
    i = torch.arange(n)
    far = (i > 0)[:, None] & (i > 0)
    end["bond"] = torch.where(far[None, :, :, None], one_hot(torch.zeros(1, n, n).long(), 4).float(), end["bond"])
    return end, x


@pytest.mark.parametrize("strength", [0.0, 2.0, 7.0])
@pytest.mark.parametrize(("n", "seed"), [(2, 0), (2, 1), (3, 2), (4, 3), (5, 4)])
def test_the_marginals_of_an_atom_and_its_neighbours_are_exact(strength, n, seed):
    end, x = star(n, seed)
    p, q = drawing(strength).marginals(end, x).values()
    atoms, bonds, pairs = exact(end, x, strength)
    torch.testing.assert_close(p[0].double(), atoms, atol=2e-5, rtol=0)
    found = torch.stack([q[0, i, j] for i, j in pairs]).double()
    torch.testing.assert_close(found, bonds, atol=2e-5, rtol=0)


def test_the_marginals_of_rings_are_near():
    """Messages that come round again count twice, so these are not exact."""
    end, x = random_laws([3], seed=4)
    p, q = drawing(3.0).marginals(end, x).values()
    atoms, bonds, pairs = exact(end, x, 3.0)

    def off(p, q):
        q = torch.stack([q[0, i, j] for i, j in pairs])
        return float((p[0].double() - atoms).abs().mean()), float((q.double() - bonds).abs().mean())

    found, told = off(p, q), off(end["atom"], end["bond"])
    assert found[0] < 0.7 * told[0]
    assert found[1] < 0.3 * told[1]


def test_without_strength_the_laws_are_as_told():
    end, x = random_laws([5, 7])
    p, q = drawing(0.0).marginals(end, x).values()
    torch.testing.assert_close(p[x.mask], end["atom"][x.mask])
    torch.testing.assert_close(q[x.pair_mask], end["bond"][x.pair_mask])


def test_labels_drawn_together_fill_more_valences():
    end, x = random_laws([9] * 50)

    def share(strength):
        labels, _ = drawing(strength)(end, x, Rng.of(1, len(x)), 0.8)
        return filled(labels["atom"], labels["bond"], x).float().mean()

    assert share(7.0) > share(2.0) + 0.1 > share(0.0) + 0.2


def test_what_is_told_for_certain_stays_even_where_it_breaks_a_valence():
    x = Batch.of_sizes([4, 3])
    chance = torch.Generator().manual_seed(0)
    atom = torch.randint(4, x.mask.shape, generator=chance)
    bond = torch.randint(4, x.pair_mask.shape, generator=chance).triu(1)
    bond = (bond + bond.transpose(1, 2)) * x.pair_mask
    labels, _ = drawing(50.0)(PATH.told({"atom": atom, "bond": bond}), x, Rng.of(0, 2), s=1.0)
    assert torch.equal(labels["atom"][x.mask], atom[x.mask])
    assert torch.equal(labels["bond"][x.pair_mask.triu()], bond[x.pair_mask.triu()])


def test_the_likeliest_labels_of_methane_are_methane():
    """Each bond by itself had rather be none, and each hydrogen a carbon."""
    x = Batch.of_sizes([5])
    atom = torch.tensor([0.35, 0.4, 0.15, 0.1]).expand(1, 5, 4).clone()
    atom[0, 0] = torch.tensor([0.01, 0.97, 0.01, 0.01])
    bond = torch.tensor([0.99, 0.005, 0.003, 0.002]).expand(1, 5, 5, 4).clone()
    bond[0, 0, 1:] = bond[0, 1:, 0] = torch.tensor([0.6, 0.35, 0.04, 0.01])
    labels, _ = drawing()({"atom": atom, "bond": bond}, x, Rng.of(0, 1), s=1.0)
    assert labels["atom"].tolist() == [[1, 0, 0, 0, 0]]
    assert labels["bond"][0].triu().nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]


def test_a_molecule_is_drawn_the_same_alone_and_beside_larger_ones():
    end, x = random_laws([4, 9, 6])
    together, _ = drawing()(end, x, Rng.of(3, 3), 0.8)
    for b, n in enumerate((4, 9, 6)):
        alone = {"atom": end["atom"][b : b + 1, :n], "bond": end["bond"][b : b + 1, :n, :n]}
        labels, _ = drawing()(alone, Batch.of_sizes([n]), Rng(3, torch.tensor([b])), 0.8)
        assert torch.equal(labels["atom"][0], together["atom"][b, :n])
        assert torch.equal(labels["bond"][0].triu(1), together["bond"][b, :n, :n].triu(1))


def test_equally_sure_labels_are_drawn_the_same_beside_larger_molecules():
    end, x = random_laws([5] * 40)
    even = {name: torch.full_like(law, 1 / law.shape[-1]) for name, law in end.items()}
    padded, _ = random_laws([5] * 40 + [9])
    wide = {name: torch.full_like(law, 1 / law.shape[-1]) for name, law in padded.items()}
    beside = Batch.of_sizes([5] * 40 + [9])
    rngs = Rng(0, torch.arange(40)), Rng(0, torch.arange(41))
    alone, _ = drawing()(even, x, rngs[0], 0.9)
    there, _ = drawing()(wide, beside, rngs[1], 0.9)
    assert torch.equal(alone["atom"], there["atom"][:40, :5])
    upper = torch.ones(5, 5).triu(1).bool()
    assert torch.equal(alone["bond"][:, upper], there["bond"][:40, :5, :5][:, upper])


def test_labels_for_early_times_are_left_to_be_drawn_apart():
    end, x = random_laws([4])
    assert drawing()(end, x, Rng.of(0, 1), FROM - 0.01) == ({}, {})
    assert set(drawing()(end, x, Rng.of(0, 1), FROM)[0]) == {"atom", "bond"}


@pytest.mark.parametrize("solver", [Euler(), Midpoint(), DormandPrince5(), DDIM(), Confident()])
def test_a_hidden_state_is_no_label(solver):
    """With masks for noise there is one state more than there are labels, in the rates that solvers pass on, too."""
    end, x = random_laws([5, 7])
    masks = [Mask("atom", 4), Mask("bond", 4)]
    path = Joint({"pos": Linear(), "atom": Jump(5), "bond": Jump(5)})
    prior = Product([Gaussian("pos", 3), *masks])

    def network(x, t, *, hint=None):
        return {"pos": torch.zeros_like(x.pos), **{name: law.log() for name, law in end.items()}}

    flow = Flow(network, path, prior, together=drawing())
    rng = Rng.of(0, 2)
    y = integrate(flow, prior(x, rng), [0.0, 0.3, 0.6, 1.0], solver, rng)
    assert int(y.atom.max()) < 4
    assert int(y.bond.max()) < 4


def test_it_goes_where_the_molecules_are():
    """A student's objective makes it before it is known on which device training will be."""
    end, x = random_laws([5, 7])
    fits = drawing()
    fits.marginals({name: law.to("meta") for name, law in end.items()}, x.to("meta"))
    assert {fits.fills.device.type, fits.wave.device.type} == {"meta"}


def test_the_order_of_atoms_does_not_matter():
    end, x = random_laws([8])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    turned = {"atom": end["atom"][:, order], "bond": end["bond"][:, order][:, :, order]}
    p, q = drawing().marginals(end, x).values()
    p_turned, q_turned = drawing().marginals(turned, x).values()
    torch.testing.assert_close(p_turned, p[:, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(q_turned, q[:, order][:, :, order], atol=1e-5, rtol=1e-4)


def test_charges_apart_are_as_charges_with_the_element():
    """N and N+ as one kind and a charge, whose laws multiply."""
    apart = Vocabulary(("H", "N"), (0, 1), (0, 1, 2, 3))
    path = Joint({name: Jump(count) for name, count in apart.classes.items()})
    end, x = random_laws([6], kinds=2)
    charge = torch.tensor([0.7, 0.3]).expand(1, 6, 2)
    found = drawing(vocabulary=apart, path=path).marginals({**end, "charge": charge}, x)
    both = Vocabulary(("H", "N", "H+", "N+"), (), (0, 1, 2, 3))
    joined = torch.cat([0.7 * end["atom"], 0.3 * end["atom"]], -1)
    expected = drawing(vocabulary=both).marginals({"atom": joined, "bond": end["bond"]}, x)
    kinds = expected["atom"].unflatten(-1, (2, 2))  # [..., charge, element]
    torch.testing.assert_close(found["bond"], expected["bond"])
    torch.testing.assert_close(found["atom"], kinds.sum(-2))
    torch.testing.assert_close(found["charge"], kinds.sum(-1))
    labels, _ = drawing(vocabulary=apart, path=path)({**end, "charge": charge}, x, Rng.of(0, 1), 0.8)
    assert set(labels) == {"atom", "charge", "bond"}
    assert int(labels["atom"].max()) <= 1
    assert int(labels["charge"].max()) <= 1


def test_without_hydrogens_an_atom_may_have_less():
    heavy = Vocabulary(("C", "N"), (), (0, 1, 2, 3))
    path = Joint({name: Jump(count) for name, count in heavy.classes.items()})
    fills = drawing(7.0, heavy, path).fills
    assert (fills[0, :5] == 1).all()
    assert (fills[1, :4] == 1).all()
    assert fills[1, 4] < 0.01 > fills[0, 5]


def test_orders_are_those_of_the_vocabulary():
    """Without double bonds in the data, class 2 is a triple bond."""
    odd = Vocabulary(("H", "C"), (), (0, 1, 3))
    path = Joint({name: Jump(count) for name, count in odd.classes.items()})
    x = Batch.of_sizes([4])  # acetylene: H C C H
    atom = one_hot(torch.tensor([[0, 1, 1, 0]]), 2).float()
    bond = torch.full((1, 4, 4, 3), 1 / 3)
    labels, _ = drawing(7.0, odd, path)({"atom": atom, "bond": bond}, x, Rng.of(0, 1), s=1.0)
    assert filled(labels["atom"], labels["bond"], x, odd).all()
    assert labels["bond"][0, 1, 2] == 2


@pytest.mark.parametrize(
    ("vocabulary", "path", "message"),
    [
        (Vocabulary(("H", "C")), PATH, "this model knows no bonds; give it 0"),
        (Vocabulary(("H", "C"), (), (0, 1, 4)), PATH, "this model knows aromatic ones; give it 0"),
        (VOCABULARY, Joint({"atom": OneHot(4), "bond": Jump(4)}), "atom of this model flow as numbers; give it 0"),
    ],
)
def test_a_model_that_it_does_not_suit_says_so(vocabulary, path, message):
    with pytest.raises(UserError, match=message):
        Valences.of(vocabulary, path, 7.0)


def test_valences_are_those_that_rdkit_knows():
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    for number, ours in VALENCES.items():
        assert ours == tuple(table.GetValenceList(number)), SYMBOL[number]
    assert -1 in table.GetValenceList(26)  # any: a metal
    assert valences(26) == tuple(range(9))


def test_charged_atoms_have_the_valences_that_rdkit_takes_for_valid():
    from rdkit import Chem

    hydrogens = {
        (7, 1): 4,
        (8, -1): 1,
        (6, -1): 3,
        (6, 1): 3,
        (8, 1): 3,
        (16, -1): 1,
        (5, -1): 4,
        (15, 1): 4,
        (17, -1): 0,
    }
    for (number, charge), count in hydrogens.items():
        sign = "+" if charge > 0 else "-"
        mol = Chem.MolFromSmiles(f"[{SYMBOL[number]}{f'H{count}' if count else ''}{sign}]")
        assert not Chem.DetectChemistryProblems(mol)
        assert not mol.GetAtomWithIdx(0).GetNumRadicalElectrons()
        assert count in valences(number, charge)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "multistep", "confident", "corrector"])
def test_samples_of_every_kind_of_step_have_more_filled_valences(solver):
    model = molflow.load("small", "cpu")

    def broken(strength):
        x = model.vocabulary.encode(model.sample(80, steps=4, seed=1, solver=solver, valences=strength))
        return 1 - filled(x.atom, x.bond, x, model.vocabulary)[x.mask].float().mean()

    assert broken(7.0) < 0.7 * broken(0.0)


def test_a_molecule_does_not_depend_on_which_are_sampled_with_it():
    model = molflow.load("small", "cpu")
    how = model.defaults.updated(steps=4, valences=7.0)
    whole, part = model.sample_ids(np.arange(6), 0, how), model.sample_ids(np.array([4, 1]), 0, how)
    for k, number in enumerate((4, 1)):
        n = int(part.sizes[k])
        assert torch.equal(part.atom[k, :n], whole.atom[number, :n])
        assert torch.equal(part.bond[k, :n, :n], whole.bond[number, :n, :n])
        torch.testing.assert_close(part.pos[k, :n], whole.pos[number, :n], atol=1e-3, rtol=0)
