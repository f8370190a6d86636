"""The training idea: its loss is least for a network that knows, and depends on molecules alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from molflow.batch import Batch
from molflow.couplings.align import Align
from molflow.couplings.independent import Independent
from molflow.couplings.minibatch_ot import MinibatchOT
from molflow.geometry import centre
from molflow.objectives.objective import Objective
from molflow.paths.interpolant import Interpolant
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.priors.ball import Ball
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.times.beta import Beta
from molflow.times.importance import Importance
from molflow.times.times import Times
from molflow.times.uniform import Uniform as UniformTimes

WEIGHTS = {"pos": 1.0, "atom": 0.5, "bond": 0.25}
CLASSES = {"atom": 4, "bond": 3}


def objective(hint=0.0, weights=WEIGHTS, times=None):
    prior = Product([Gaussian("pos", 3, 1.4), Uniform("atom", 4), Uniform("bond", 3)])
    path = Joint({"pos": Linear(), "atom": Jump(4), "bond": Jump(3)})
    return Objective(prior, Align(), path, times or Beta(), weights, hint=hint)


def molecules(sizes=(4, 7, 1, 6)):
    random = torch.Generator().manual_seed(0)
    x = Batch.of_sizes(list(sizes))
    B, N = x.mask.shape
    pos = torch.randn(B, N, 3, generator=random) + 3.0
    atom, bond = torch.randint(4, (B, N), generator=random), torch.randint(3, (B, N, N), generator=random)
    return x.replace(pos=pos, atom=atom, bond=bond).tidy()


class Knows:
    """Predicts x1, with an error of a given size."""

    def __init__(self, x1, wrong=0.0, sure=60.0):
        self.x1, self.wrong, self.sure, self.hints, self.seen = x1, wrong, sure, [], []

    def __call__(self, x, t, *, hint=None):
        self.hints.append(hint)
        self.seen.append((x, t))
        pred = {"pos": centre(self.x1.pos, self.x1.mask)}
        for name, classes in CLASSES.items():
            pred[name] = self.sure * one_hot(getattr(self.x1, name), classes).float()
        if self.wrong:
            random = torch.Generator().manual_seed(1)
            pred = {
                name: value + self.wrong * torch.randn(value.shape, generator=random) for name, value in pred.items()
            }
        return pred


def test_the_loss_of_an_oracle_is_the_minimum():
    x1, rng = molecules(), lambda: Rng.of(0, 4)
    least = objective()(Knows(x1), x1, rng())
    assert all(abs(float(loss)) < 1e-6 for loss in least.values())
    before = least
    for wrong in (0.1, 1.0, 10.0):
        worse = objective()(Knows(x1, wrong, sure=1.0), x1, rng())
        assert all(worse[name] > before[name] for name in worse)
        before = worse


def test_the_loss_of_knowing_nothing_is_that_of_the_dice():
    """Equal logits cost log 4 an atom; a bond costs log 3, and an atom has (N - 1) / 2 of them."""
    x1 = molecules((4, 4))
    losses = objective()(Knows(x1, sure=0.0), x1, Rng.of(0, 2))
    torch.testing.assert_close(losses["atom"], torch.tensor(4.0).log())
    torch.testing.assert_close(losses["bond"], 1.5 * torch.tensor(3.0).log())


def test_the_error_of_coordinates_is_weighted_by_the_time_left():
    """1 angstrom off in each coordinate at t = 1/2 costs 1 / (1 - t)^2 = 4."""
    x1 = molecules((4, 4))

    class Half(Times):
        def __call__(self, rng):
            return torch.full((2,), 0.5)

    def off(x, t, *, hint=None):
        pred = Knows(x1)(x, t)
        return {**pred, "pos": pred["pos"] + 1}

    torch.testing.assert_close(objective(times=Half())(off, x1, Rng.of(0, 2))["pos"], torch.tensor(4.0))


def test_padding_changes_nothing():
    x1 = molecules()
    padded = x1.pad_to(11)
    a = objective()(Knows(x1, 0.3, sure=1.0), x1, Rng.of(0, 4))

    def same_error(x, t, *, hint=None):  # the same prediction in longer rows, garbage behind
        pred = Knows(x1, 0.3, sure=1.0)(x[torch.arange(4)], t)
        long = {name: getattr(x1.replace(**pred).pad_to(11), name) for name in pred}
        return {"pos": long["pos"] + 1e3 * ~x.mask[..., None], "atom": long["atom"] - 7.0 * ~x.mask[..., None],
                "bond": long["bond"] + 5.0 * ~x.pair_mask[..., None]}  # fmt: skip

    b = objective()(same_error, padded, Rng.of(0, 4))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-5, atol=1e-6)


def test_the_state_a_network_sees_does_not_depend_on_padding():
    x1 = molecules()
    one, other = Knows(x1), Knows(x1.pad_to(11))
    objective()(one, x1, Rng.of(0, 4))
    objective()(other, x1.pad_to(11), Rng.of(0, 4))
    (x, t), (y, s) = one.seen[0], other.seen[0]
    assert torch.equal(t, s)
    y = y.pad_to(x.mask.shape[1])
    torch.testing.assert_close(x.pos, y.pos, atol=1e-5, rtol=0)
    assert torch.equal(x.atom, y.atom)
    assert torch.equal(x.bond, y.bond)


def test_the_same_stream_gives_the_same_loss_and_another_seed_another():
    x1 = molecules()
    a, b, c = (objective()(Knows(x1, 0.5, sure=1.0), x1, Rng.of(seed, 4)) for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["pos"], c["pos"])


def test_molecules_are_centred_before_they_meet_their_noise():
    x1 = molecules()
    knows = Knows(x1)
    objective()(knows, x1, Rng.of(0, 4))
    x, _ = knows.seen[0]
    assert (x.pos * x.mask[..., None]).sum(1).abs().max() < 1e-4


@pytest.mark.parametrize("share, calls", [(0.0, 1), (1.0, 2)])
def test_a_share_of_steps_trains_with_its_own_prediction_as_the_hint(share, calls):
    x1 = molecules()
    knows = Knows(x1)
    objective(hint=share)(knows, x1, Rng.of(0, 4))
    assert len(knows.hints) == calls
    assert knows.hints[0] is None
    if calls == 2:
        hint = knows.hints[1]
        torch.testing.assert_close(hint["pos"], centre(x1.pos, x1.mask))
        torch.testing.assert_close(hint["atom"], one_hot(x1.atom, 4).float())  # an endpoint: probabilities, not logits


def test_about_half_of_the_steps_take_the_hint():
    x1 = molecules((2,))
    knows = Knows(x1)
    for seed in range(200):
        objective(hint=0.5)(knows, x1, Rng.of(seed, 1))
    assert 60 < len(knows.hints) - 200 < 140


def test_no_gradient_flows_through_the_hint():
    x1, weight = molecules(), torch.ones(1, requires_grad=True)

    def network(x, t, *, hint=None):
        assert hint is None or not any(value.requires_grad for value in hint.values())
        return {name: value * weight for name, value in Knows(x1, 0.5, sure=1.0)(x, t).items()}

    loss = objective(hint=1.0)
    loss.total(loss(network, x1, Rng.of(0, 4))).backward()
    assert weight.grad.isfinite().all()


def test_the_total_weighs_the_fields():
    total = objective().total({"pos": torch.tensor(2.0), "atom": torch.tensor(4.0), "bond": torch.tensor(8.0)})
    assert total == 2 + 0.5 * 4 + 0.25 * 8


def test_times_learn_from_training_and_not_from_validation():
    """A network right but near t = 0 is asked there more often; what is only looked at teaches nothing."""
    x1, times = molecules((4,) * 64), Importance(bins=4)
    losing = objective(times=times)

    def early(x, t, *, hint=None):
        pred = Knows(x1)(x, t)
        return {**pred, "pos": pred["pos"] + (t < 0.25)[:, None, None]}

    with torch.no_grad():
        losing(early, x1, Rng.of(0, 64))
    assert torch.equal(times.shares(), torch.full((4,), 0.25, dtype=torch.float64))
    losing(early, x1, Rng.of(0, 64))
    assert times.shares()[0] > 0.8


@torch.no_grad()
def test_validation_has_one_yardstick_whatever_was_learnt():
    x1, wrong = molecules((4,) * 64), Knows(molecules((4,) * 64), 0.3, sure=1.0)
    for unbiased in (True, False):
        times = Importance(bins=8, unbiased=unbiased)
        before = objective(times=times)(wrong, x1, Rng.of(1, 64))
        times.learn(torch.linspace(0.01, 0.99, 99), torch.linspace(0.0, 5.0, 99))
        assert objective(times=times)(wrong, x1, Rng.of(1, 64)) == before


def test_unbiased_times_leave_the_loss_as_it_is_under_uniform_ones():
    x1 = molecules((4,) * 4000)
    times = Importance(bins=8)
    times.learn(torch.linspace(0.01, 0.99, 99), torch.linspace(0.0, 5.0, 99))
    wrong = Knows(x1, 0.3, sure=1.0)
    means, errors = [], []
    for law in (UniformTimes(), times):
        asked = objective(times=law)
        one = asked.each(wrong, x1, Rng.of(1, 4000))[1]["pos"].double()
        means.append(one.mean())
        errors.append(one.std() / 4000**0.5)
    assert abs(means[0] - means[1]) < 5 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5


def test_noise_that_is_not_normal_has_the_velocity_of_the_way_as_its_goal():
    """Only of normal noise the mixture with fresh noise says of both in proportion, so that x1 is the mean to learn."""
    x1 = Batch.of_points(torch.zeros(64, 1, 1).index_fill(0, torch.arange(13), 1.0))
    for prior, simple in ((Gaussian("pos", 1, centred=False), True), (Ball("pos", 1, centred=False), False)):
        path = Joint({"pos": Interpolant(noise=3.0)})
        made = Objective(Product([prior]), Independent(), path, Beta(), {"pos": 1.0}, hint=0.0, centred=False)
        assert made.simple == simple
        goals = []
        made.losses = lambda pred, x, x1, t, goal: goals.append(goal.pos) or {"pos": t}  # noqa: B023
        made.each(lambda x, t, hint=None: {"pos": x.pos}, x1, Rng.of(0, 64))
        assert torch.equal(goals[0], x1.pos) == simple


def test_noise_goes_with_what_its_molecule_is_told():
    """A plan hands noise on to another molecule: what is told stays with the molecule."""
    x1 = molecules((5, 5, 5, 5, 5, 5)).replace(props={"gap": torch.arange(6.0)})
    made = objective()
    made.coupling = MinibatchOT()
    x0, again = made.pair(x1, Rng.of(0, 6))
    assert not torch.equal(x0.pos, made.prior(made.placed(x1), Rng.of(0, 6)).pos)
    assert torch.equal(x0.props["gap"], again.props["gap"])
