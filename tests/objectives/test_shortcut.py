"""Leaps: two held endpoints are one, and the loss asks for nothing that a flow of straight ways has not."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from molflow.batch import Batch
from molflow.build import UserError, build, resolve
from molflow.couplings.independent import Independent
from molflow.objectives.objective import Objective
from molflow.objectives.shortcut import Shortcut, merge
from molflow.paths import PATHS
from molflow.paths.affine import Positions
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.paths.one_hot import OneHot
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.solvers.schedule import grid
from molflow.times.beta import Beta

CLASSES = {"atom": 4, "bond": 3}
WEIGHTS = {"pos": 1.0, "atom": 0.5, "bond": 0.25}
NUMBERS = [name for name, target in PATHS.items() if issubclass(resolve(target), Positions)]


def objective(kind=Shortcut, **keywords):
    prior = Product([Gaussian("pos", 3, 1.4), Uniform("atom", 4), Uniform("bond", 3)])
    path = Joint({"pos": Linear(), "atom": Jump(4), "bond": Jump(3)})
    if kind is Shortcut:
        keywords = {"sample": Sampling(), **keywords}
    return kind(prior, Independent(), path, Beta(), WEIGHTS, **keywords)


def molecules(sizes=(4, 7, 1, 6)):
    random = torch.Generator().manual_seed(0)
    x = Batch.of_sizes(list(sizes))
    B, N = x.mask.shape
    pos = torch.randn(B, N, 3, generator=random)
    atom, bond = torch.randint(4, (B, N), generator=random), torch.randint(3, (B, N, N), generator=random)
    return x.replace(pos=pos, atom=atom, bond=bond).tidy()


def three(seed, *shape):
    """A state and two endpoints, in double precision."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(3, *shape, generator=random, dtype=torch.float64)


LEAPS = [(0.0, 0.4, 0.7), (0.3, 0.5, 1.0), (0.2, 0.21, 0.9)]


@pytest.mark.parametrize("leap", LEAPS, ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_the_merged_endpoint_leads_where_the_two_lead(name, leap):
    (t, m, s), path = leap, build("path", PATHS, name)
    x, first, then = three(0, 2, 5, 3)
    merged = merge(Joint({"pos": path}), {"pos": first}, {"pos": then}, t, m, s)["pos"]
    two = path.hold(path.hold(x, first, t, m, None), then, m, s, None)
    torch.testing.assert_close(path.hold(x, merged, t, s, None), two, rtol=1e-9, atol=1e-9)


def test_continuous_labels_are_merged_alike():
    path, (x, first, then) = OneHot(4), three(0, 2, 5, 4)
    merged = merge(Joint({"atom": path}), {"atom": first}, {"atom": then}, 0.2, 0.5, 0.8)["atom"]
    two = path.hold(path.hold(x, first, 0.2, 0.5, None), then, 0.5, 0.8, None)
    torch.testing.assert_close(path.hold(x, merged, 0.2, 0.8, None), two)


def test_where_a_clock_has_run_out_the_later_endpoint_is_held():
    _, first, then = three(0, 2, 5, 4)
    lost = Jump(4, lead=40.0)  # its clock is 1 from t = 0.7 on, in double precision
    merged = merge(Joint({"atom": lost}), {"atom": first}, {"atom": then}, 0.7, 0.8, 0.9)["atom"]
    assert torch.equal(merged, then)


@pytest.mark.parametrize("leap", LEAPS, ids=str)
def test_labels_have_the_merged_law_after_two_steps(leap):
    """The law of a step from t to s is e(x) + (s - t) v; that of two is composed over the labels between."""
    (t, m, s), path = leap, Jump(4)
    first, then = three(1, 2, 4).softmax(-1)[:2]  # [2, 4] each: two labels' laws
    x = torch.tensor([0, 3])
    merged = merge(Joint({"atom": path}), {"atom": first}, {"atom": then}, t, m, s)["atom"]
    torch.testing.assert_close(merged.sum(-1), torch.ones(2, dtype=torch.float64))
    once = one_hot(x, 4) + (s - t) * path.velocity(merged, x, t)

    middle = one_hot(x, 4) + (m - t) * path.velocity(first, x, t)  # [2, 4]
    twice = torch.zeros_like(once)
    for y in range(4):
        at_y = torch.full_like(x, y)
        twice += middle[:, y : y + 1] * (one_hot(at_y, 4) + (s - m) * path.velocity(then, at_y, m))
    torch.testing.assert_close(once, twice)


def test_a_mean_worked_by_hand():
    """From 0 by 1/2 to 3/4 each step takes half of what is left: weights 1/2 * 1/2 and 1/2, so 0 and 3 make 2.

    Held from 0 to 3/4, an end at 2 leads a point from 4 to 2.5; by 0 to 2 and on by 3 to 2.5 as well.
    """
    path, one = Linear(), torch.ones(1, 1, 1, dtype=torch.float64)
    merged = merge(Joint({"pos": path}), {"pos": 0 * one}, {"pos": 3 * one}, 0.0, 0.5, 0.75)["pos"]
    assert merged.item() == pytest.approx(2.0)
    assert path.hold(4 * one, merged, 0.0, 0.75, None).item() == pytest.approx(2.5)


class Says:
    """Predicts one molecule whatever it sees, and keeps what it was asked."""

    def __init__(self, x1, sure=60.0):
        self.pred = {"pos": x1.pos}
        for name, classes in CLASSES.items():
            self.pred[name] = sure * one_hot(getattr(x1, name), classes).float()
        self.asked = []

    def __call__(self, x, t, *, hint=None, span=None):
        self.asked.append((t[0].item(), None if span is None else span[0].item(), torch.is_grad_enabled()))
        return self.pred


def test_without_a_share_it_is_matching():
    x1 = molecules()
    for seed in range(4):
        matching, rng = objective(Objective), Rng.of(seed, 4)
        pair = matching.pair(x1, rng)
        rng.scalar()  # would decide for a leap
        plain = matching.match(Says(x1, 1.0), *pair, rng)
        none = objective(share=0.0).each(Says(x1, 1.0), x1, Rng.of(seed, 4))
        assert torch.equal(none[0], plain[0])
        assert all(torch.equal(none[1][name], plain[1][name]) for name in WEIGHTS)


def test_who_always_says_the_same_has_no_error_of_leaps():
    """Its ways are straight: one step goes where two go, whatever the data hold."""
    x1, other = molecules(), molecules()
    other = other.replace(pos=other.pos + 1, atom=(other.atom + 1) % 4).tidy()
    for seed in range(6):
        losses = objective(share=1.0)(Says(other), x1, Rng.of(seed, 4))
        assert all(abs(float(loss)) < 1e-6 for loss in losses.values())


def test_a_leap_is_taught_by_two_of_half_its_steps():
    """The halves are asked for first, without a gradient; with a finest of 2 they are plain steps of the flow."""
    x1 = molecules()
    says = Says(x1)
    objective(share=1.0, finest=2, hint=0.0)(says, x1, Rng.of(0, 4))
    assert says.asked == [(0.0, None, False), (0.75, None, False), (0.0, 1.0, True)]
    for seed in range(20):
        says = Says(x1)
        objective(share=1.0, finest=16, hint=0.0)(says, x1, Rng.of(seed, 4))
        (t, one, _), (m, two, _), (again, span, learns) = says.asked
        assert again == t and learns
        assert (one is None) == (two is None)
        if one is not None:
            assert t + one == pytest.approx(m)
            assert one + two == pytest.approx(span)


@pytest.mark.parametrize(
    ("asked", "name"), [("quadratic", "quadratic"), ("linear", "linear"), ("learned", "quadratic")]
)
def test_leaps_lie_on_the_grids_of_sampling_at_all_levels(asked, name):
    """A grid that is yet to be learned is not at hand."""
    teaches, seen = objective(finest=8, sample=Sampling(grid=asked)), {}
    for seed in range(300):
        t, m, s, plain = teaches.leap(Rng.of(seed, 1))
        (halves,) = [n for n in (2, 4, 8) if t in grid(name, n)[:-1:2] and m in grid(name, n)[1::2]]
        times = grid(name, halves)
        i = times.index(t)
        assert (i % 2, times[i + 1], times[i + 2]) == (0, m, s)
        assert t < m < s <= 1
        assert plain == (halves == 8)
        seen.setdefault(halves, set()).add(i)
    assert seen == {2: {0}, 4: {0, 2}, 8: {0, 2, 4, 6}}


def test_a_share_of_the_steps_are_leaps():
    x1, leaps = molecules((2,)), 0
    for seed in range(200):
        says = Says(x1)
        objective(share=0.25, hint=0.0)(says, x1, Rng.of(seed, 1))
        leaps += any(span is not None for _, span, _ in says.asked)
    assert 30 < leaps < 70


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"share": 1.5}, "share must be between 0 and 1, not 1.5"),
        ({"share": -0.1}, "share must be between 0 and 1"),
        ({"finest": 12}, "finest must be a power of two from 2 on, not 12"),
        ({"finest": 1}, "finest must be a power of two"),
    ],
)
def test_mistakes_are_told(keywords, message):
    with pytest.raises(UserError, match=message):
        objective(**keywords)
