"""What every coupling must do: docs/design.md, the contract of couplings."""

from __future__ import annotations

import pytest
import torch

from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain, transport_cost
from molflow.couplings.independent import Independent
from molflow.geometry import centre
from molflow.rng import Rng

SIZES = (5, 1, 9, 5, 2, 9, 5, 4, 1)  # several molecules of a size, and some alone


@pytest.fixture(params=[*sorted(COUPLINGS), "minibatch_ot + align"])
def coupling(request, make):
    return Chain([make.member("coupling", COUPLINGS, name) for name in request.param.split(" + ")])


@pytest.fixture
def pair(make):
    """Noise and molecules of the same sizes, padded, with a label on each atom of the noise."""
    x0 = make.molecules(SIZES, ("atom", "bond"), seed=1, atoms=11)
    x1 = make.molecules(SIZES, ("atom", "bond"), seed=2, atoms=11)
    x0, x1 = (x.replace(pos=centre(x.pos, x.mask)) for x in (x0, x1))
    return x0, x1


def couple(coupling, x0, x1, seed=0):
    return coupling(x0, x1, Rng.of(seed, len(x1)))


def shape(x, b):
    """What of molecule b no permutation or rotation of its atoms changes."""
    n = int(x.sizes[b])
    far = x.pos[b, :n].norm(dim=1)
    order = far.argsort()
    between = torch.cdist(x.pos[b, :n], x.pos[b, :n])[order][:, order]
    bonds = x.bond[b][order][:, order]
    return torch.cat([far[order], between.flatten(), x.atom[b, order].float(), bonds.flatten().float()])


def test_the_molecules_and_their_rows_are_kept(coupling, pair):
    x0, x1 = pair
    y0, y1 = couple(coupling, x0, x1)
    for before, after in ((x0, y0), (x1, y1)):
        left = [shape(after, b) for b in range(len(after))]
        for b in range(len(before)):
            mine = shape(before, b)
            found = [i for i, it in enumerate(left) if it.shape == mine.shape and (it - mine).abs().max() < 1e-4]
            assert found, f"molecule {b} is gone"
            left.pop(found[0])
    assert torch.equal(y0.mask, x0.mask), "molecules are paired with noise of their size"
    assert torch.equal(y1.mask, x1.mask)


def test_the_transport_cost_is_never_raised(coupling, pair):
    before, after = transport_cost(*pair), transport_cost(*couple(coupling, *pair))
    assert after.sum() <= before.sum() * (1 + 1e-5)


def test_it_beats_a_random_pairing(coupling, pair, make):
    if isinstance(coupling.couplings[0], Independent):
        return
    after = transport_cost(*couple(coupling, *pair)).sum()
    for seed in range(10, 15):
        x0 = make.molecules(SIZES, ("atom", "bond"), seed=seed, atoms=11)
        assert after < transport_cost(x0, pair[1]).sum()


def test_what_is_already_paired_stays(coupling, pair):
    _, x1 = pair
    y0, y1 = couple(coupling, x1, x1)
    torch.testing.assert_close(y0.pos, y1.pos, atol=1e-5, rtol=0)
    several = x1.sizes > 1  # single atoms are all alike: at the origin
    assert torch.equal(y0.atom[several], y1.atom[several])


def test_it_commutes_with_turning_both(coupling, pair, make):
    x0, x1 = pair
    turn = make.rotation().T.float()
    y0, y1 = couple(coupling, x0, x1)
    z0, z1 = couple(coupling, x0.replace(pos=x0.pos @ turn), x1.replace(pos=x1.pos @ turn))
    torch.testing.assert_close(z0.pos * z0.mask[..., None], (y0.pos @ turn) * y0.mask[..., None], atol=2e-5, rtol=0)
    torch.testing.assert_close(z1.pos, y1.pos @ turn, atol=2e-5, rtol=0)


def test_the_centre_stays(coupling, pair):
    for x in couple(coupling, *pair):
        assert (x.pos * x.mask[..., None]).sum(1).abs().max() < 1e-5


def test_padding_changes_nothing(coupling, pair, make):
    x0, x1 = pair
    y0, y1 = couple(coupling, x0, x1)
    z0, z1 = couple(coupling, make.garbage(x0, seed=3), make.garbage(x1, seed=4))
    for y, z in ((y0, z0), (y1, z1)):
        torch.testing.assert_close(y.tidy().pos, z.tidy().pos, atol=1e-5, rtol=0)
        assert torch.equal(y.tidy().atom, z.tidy().atom)
        assert torch.equal(y.tidy().bond, z.tidy().bond)


def test_same_stream_same_pairing(coupling, pair):
    (a0, a1), (b0, b1) = couple(coupling, *pair), couple(coupling, *pair)
    assert torch.equal(a0.pos, b0.pos)
    assert torch.equal(a1.pos, b1.pos)


def test_points_of_the_plane_are_paired_too(coupling, make):
    x0, x1 = make.molecules(SIZES, dim=2, seed=1), make.molecules(SIZES, dim=2, seed=2)
    assert transport_cost(*couple(coupling, x0, x1)).sum() <= transport_cost(x0, x1).sum() * (1 + 1e-5)
