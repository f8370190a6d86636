"""What every coupling must do: docs/design.md, the contract of couplings."""

from __future__ import annotations

import pytest
import torch

from molflow.build import UserError
from molflow.couplings import COUPLINGS
from molflow.couplings.coupling import Chain, transport_cost
from molflow.couplings.independent import Independent
from molflow.couplings.minibatch_ot import MinibatchOT
from molflow.geometry import centre
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng

SIZES = (5, 1, 9, 5, 2, 9, 5, 4, 1)  # several molecules of a size, and some alone


ALONE = [[name] for name in sorted(COUPLINGS)]
OPTIONS = [  # that change what a coupling does
    [{"name": "align", "rounds": 20}],
    [{"name": "align", "rotate": False}],
    [{"name": "minibatch_ot", "method": "sinkhorn"}],
    [{"name": "minibatch_ot", "method": "unbalanced"}],
    [{"name": "minibatch_ot", "aligned": True}],
    [{"name": "minibatch_ot", "group": 2}],
    [{"name": "minibatch_ot", "condition": "colour", "weight": 10.0}],
]
TOGETHER = [["minibatch_ot", "align"], [{"name": "minibatch_ot", "aligned": True}, "align"], ["independent", "align"]]


def spelt(specs):
    return " + ".join(s if isinstance(s, str) else " ".join(map(str, s.values())) for s in specs)


def prior(dim=3):
    return Product([Gaussian("pos", dim), Uniform("atom", 5), Uniform("bond", 4)])


@pytest.fixture(params=ALONE + OPTIONS + TOGETHER, ids=spelt)
def coupling(request, make):
    chain = Chain([make.member("coupling", COUPLINGS, spec, prior=prior()) for spec in request.param])
    chain.prepare(("colour", "pair"), {"seed": "7"})
    return chain


@pytest.fixture
def moves(coupling):
    """A coupling that moves the noise it is given."""
    if coupling.renews:
        pytest.skip("it brings noise of its own")
    return coupling


@pytest.fixture
def pair(make):
    """Noise and molecules of the same sizes, padded, with a label on each atom of the noise."""
    x0 = make.molecules(SIZES, ("atom", "bond"), seed=1, atoms=11)
    x1 = make.molecules(SIZES, ("atom", "bond"), seed=2, atoms=11)
    props = {"colour": torch.arange(len(SIZES)) % 2.0, "pair": torch.arange(len(SIZES)).float()}
    x0, x1 = (x.replace(pos=centre(x.pos, x.mask), props=props) for x in (x0, x1))
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


def test_the_law_of_the_noise_over_the_batch_is_kept(moves, pair):
    """A plan permutes the noise, atom by atom and label by label; the molecules stay. What is drawn comes from it."""
    x0, x1 = pair
    y0, y1 = couple(moves, x0, x1)
    drawn = any(getattr(c, "draws", False) for c in moves.couplings)
    for before, after in ((x0, y0), (x1, y1)):
        left = [shape(after, b) for b in range(len(after))]
        for b in range(len(before)):
            mine = shape(before, b)
            found = [i for i, it in enumerate(left) if it.shape == mine.shape and (it - mine).abs().max() < 1e-4]
            if drawn and after is y0:
                left = [it for i, it in enumerate(left) if i not in found]
            else:
                assert found, f"molecule {b} is gone"
                left.pop(found[0])
        assert not left
    assert torch.equal(y0.mask, x0.mask), "molecules are paired with noise of their size"
    assert torch.equal(y1.mask, x1.mask)


def test_the_transport_cost_is_never_raised_by_those_that_promise_it(coupling, pair):
    if coupling.lowers:
        before, after = transport_cost(*pair), transport_cost(*couple(coupling, *pair))
        assert after.sum() <= before.sum() * (1 + 1e-5)


def test_its_report_gives_the_transport_cost_of_what_it_does(coupling, pair):
    figures = coupling.report(*pair, Rng.of(0, len(pair[1])))
    after = [value for name, value in figures.items() if name.endswith("cost after")]
    before = [value for name, value in figures.items() if name.endswith("cost before")]
    assert before[0] == pytest.approx(float(transport_cost(*pair).mean()))
    assert before[1:] == pytest.approx(after[:-1]), "each goes on from what the one before it leaves"
    assert after[-1] == pytest.approx(float(transport_cost(*couple(coupling, *pair)).mean()))
    shares = [value for name, value in figures.items() if name.endswith("share with a partner")]
    assert all(0 <= share <= 1 for share in shares)


def test_it_beats_a_random_pairing(moves, pair, make):
    coupling = moves
    if isinstance(coupling.couplings[0], Independent) or not coupling.lowers:
        return
    after = transport_cost(*couple(coupling, *pair)).sum()
    for seed in range(10, 15):
        x0 = make.molecules(SIZES, ("atom", "bond"), seed=seed, atoms=11)
        assert after < transport_cost(x0, pair[1]).sum()


def test_what_is_already_paired_stays(moves, pair):
    _, x1 = pair
    y0, y1 = couple(moves, x1, x1)
    torch.testing.assert_close(y0.pos, y1.pos, atol=1e-5, rtol=0)
    several = x1.sizes > 1  # single atoms are all alike: at the origin
    assert torch.equal(y0.atom[several], y1.atom[several])


def test_it_commutes_with_turning_both(moves, pair, make):
    coupling, (x0, x1) = moves, pair
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


def test_one_that_pairs_each_molecule_by_itself_does_so(coupling, pair):
    x0, x1 = pair
    if not coupling.alone:
        pytest.skip("it pairs the molecules of a batch with one another")
    whole, _ = couple(coupling, x0, x1)
    for k in (0, 2, len(SIZES) - 1):
        one, _ = coupling(x0[k : k + 1], x1[k : k + 1], Rng(0, torch.tensor([k])))
        n = SIZES[k]
        assert torch.allclose(one.pos[0, :n], whole.pos[k, :n], atol=1e-5)


def test_same_stream_same_pairing(coupling, pair):
    (a0, a1), (b0, b1) = couple(coupling, *pair), couple(coupling, *pair)
    assert torch.equal(a0.pos, b0.pos)
    assert torch.equal(a1.pos, b1.pos)


def test_points_of_the_plane_are_paired_too(moves, make):
    props = {"colour": torch.zeros(len(SIZES))}
    x0, x1 = (make.molecules(SIZES, dim=2, seed=seed).replace(props=props) for seed in (1, 2))
    y0, y1 = couple(moves, x0, x1)
    assert y0.pos.shape == y1.pos.shape == x1.pos.shape
    if moves.lowers:
        assert transport_cost(y0, y1).sum() <= transport_cost(x0, x1).sum() * (1 + 1e-5)


def test_pairs_that_belong_together_are_not_paired_anew(make):
    chained = [make.member("coupling", COUPLINGS, name, prior=prior()) for name in ("reflow", "align")]
    with pytest.raises(UserError, match="let it stand alone"):
        Chain(chained)


def test_a_property_that_the_data_lack_is_named():
    with pytest.raises(UserError, match="reads the property 'gap', and the data have colour"):
        Chain([MinibatchOT(condition="gap")]).prepare(["colour"], {})
