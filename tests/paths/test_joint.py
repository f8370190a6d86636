from __future__ import annotations

import torch

from molflow.batch import Batch
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.rng import Rng


def ends():
    x0 = Batch.of_sizes([2, 3])
    x1 = x0.replace(
        pos=torch.ones(2, 3, 3), atom=torch.ones(2, 3, dtype=torch.long), bond=torch.ones(2, 3, 3, dtype=torch.long)
    ).tidy()
    zero = {name: torch.zeros_like(getattr(x1, name)) for name in ("atom", "bond")}
    return x0.replace(**zero, props={"energy": torch.zeros(2)}), x1.replace(props={"energy": torch.tensor([7.0, 8.0])})


JOINT = Joint({"pos": Linear(), "atom": Jump(2), "bond": Jump(2)})


def test_a_bond_jumps_as_one_and_the_padding_stays_empty():
    x = JOINT.sample(*ends(), torch.tensor([0.5, 0.5]), Rng.of(0, 2))
    assert torch.equal(x.bond, x.bond.transpose(1, 2))
    assert not x.bond[~x.pair_mask].any()
    assert not x.pos[~x.mask].any()
    pred = {"pos": x.pos, "atom": torch.zeros(2, 3, 2), "bond": torch.zeros(2, 3, 3, 2)}
    y = JOINT.advance(x, JOINT.velocity(JOINT.endpoint(pred, x, 0.5), x, 0.5), 0.5, 0.9, Rng.of(1, 2))
    assert torch.equal(y.bond, y.bond.transpose(1, 2))
    assert not y.bond[~y.pair_mask].any()


def test_a_bond_follows_its_path_as_often_as_an_atom():
    """Read from one triangle, half of the bonds have jumped half way."""
    x0 = Batch.of_sizes([40] * 20)
    zero, one = (torch.full((20, 40, 40), value) for value in (0, 1))
    x1 = x0.replace(bond=one).tidy()
    x = Joint({"bond": Jump(2)}).sample(x0.replace(bond=zero), x1, torch.full((20,), 0.5), Rng.of(0, 20))
    share = x.bond[x.pair_mask].double().mean()
    assert abs(share - 0.5) < 5 * (0.25 / (20 * 40 * 39 / 2)) ** 0.5


def test_losses_are_means_over_atoms_and_sums_over_bonds_for_each_atom():
    """Equal logits: log 2 an atom; bonds (N - 1) / 2 log 2 an atom, so 0.5 log 2 for two atoms and log 2 for three."""
    _, x1 = ends()
    pred = {"pos": x1.pos + 2, "atom": torch.zeros(2, 3, 2), "bond": torch.zeros(2, 3, 3, 2)}
    losses = JOINT.loss(pred, x1, x1, torch.zeros(2))
    log2 = torch.full((2,), 2.0).log()
    torch.testing.assert_close(losses["pos"], torch.full((2,), 4.0))
    torch.testing.assert_close(losses["atom"], log2)
    torch.testing.assert_close(losses["bond"], torch.tensor([0.5, 1.0]) * log2)


def test_properties_stay_with_the_molecule():
    x = JOINT.sample(*ends(), torch.tensor([0.5, 0.5]), Rng.of(0, 2))
    assert x.props["energy"].tolist() == [7.0, 8.0]
