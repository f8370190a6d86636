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


def test_bonds_settle_by_their_upper_triangle():
    """Of forty atoms' 780 bonds the surer half settles, the other is noise; both entries of a bond say the same."""
    x = Batch.of_sizes([40, 40]).replace(bond=torch.zeros(2, 40, 40, dtype=torch.long))
    end = torch.tensor([0.0, 0.1, 0.9]).expand(2, 40, 40, 3)
    settled = Joint({"bond": Jump(3)}).commit(x, {"bond": end}, 0.0, 0.5, Rng.of(0, 2), x, chance=1.0).bond
    assert torch.equal(settled, settled.transpose(1, 2))
    assert ((settled != 0).flatten(1).sum(1) == 780).all()  # 390 bonds, each told twice


def test_labels_drawn_anew_have_the_law_of_their_time_and_coordinates_stay():
    """Classes with chances (0.6, 0.3, 0.1) and the exact posterior at t = 1/2: still half data, half noise."""
    law, n = torch.tensor([0.6, 0.3, 0.1]), 40_000
    like, rng = Batch.of_sizes([n]), Rng.of(0, 1)
    noise = like.replace(atom=(rng.uniform(n) * 3).long())
    data = like.replace(
        atom=torch.multinomial(law, n, replacement=True, generator=torch.Generator().manual_seed(0))[None]
    )
    path = Joint({"pos": Linear(), "atom": Jump(3)})
    x = path.sample(noise, data, torch.tensor([0.5]), rng)
    posterior = law * (0.5 * torch.eye(3)[x.atom] + 0.5 / 3)
    end = {"pos": x.pos + 1, "atom": posterior / posterior.sum(-1, keepdim=True)}
    y = path.renew(x, end, 0.5, 0.1, noise.replace(atom=(rng.uniform(n) * 3).long()), rng)
    assert torch.equal(y.pos, x.pos)
    assert 0.2 < (y.atom != x.atom).double().mean() < 0.6
    share = y.atom.flatten().bincount(minlength=3) / n
    torch.testing.assert_close(share, 0.5 * law + 0.5 / 3, atol=0.01, rtol=0)
