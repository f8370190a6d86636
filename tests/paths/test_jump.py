from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from molflow.build import UserError
from molflow.paths.joint import ahead
from molflow.paths.jump import Jump
from molflow.rng import Rng


def test_rates_by_hand():
    """p = (1/2, 1/4, 1/4) seen from class 0 at t = 1/2: leave it at rate 1, each other class at rate 1/2."""
    pred = torch.tensor([0.5, 0.25, 0.25]).view(1, 1, 3)
    rates = Jump(3).velocity(pred, torch.tensor([[0]]), 0.5)
    torch.testing.assert_close(rates, torch.tensor([[[-1.0, 0.5, 0.5]]]))


def test_a_hidden_label_is_shown_at_rate_1_over_1_minus_t():
    pred = torch.tensor([0.75, 0.25]).view(1, 1, 2)
    rates = Jump(3).velocity(pred, torch.tensor([[2]]), 0.75)
    torch.testing.assert_close(rates, torch.tensor([[[3.0, 1.0, -4.0]]]))


def test_the_loss_is_the_cross_entropy():
    pred = torch.tensor([0.5, 0.25, 0.25]).log().view(1, 1, 3)
    torch.testing.assert_close(
        Jump(3).loss(pred, torch.tensor([[0]]), torch.tensor([[2]]), 0.1), torch.tensor([[4.0]]).log()
    )


def test_at_the_end_the_likeliest_class_is_taken():
    pred = torch.tensor([0.2, 0.5, 0.3]).expand(1, 1000, 3)
    path, x = Jump(3), torch.zeros(1, 1000, dtype=torch.long)
    end = path.advance(x, path.velocity(pred, x, 0.5), 0.5, 1.0, Rng.of(0, 1))
    assert (end == 1).all()


def test_sampling_follows_the_data_when_the_network_knows_their_law():
    """Classes with chances (0.6, 0.3, 0.1) from uniform noise by the exact posterior: in 100 steps, to 1 point."""
    law, n, path = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), 40_000, Jump(3)
    rng = Rng.of(0, n)
    x = (rng.uniform(1) * 3).long()
    steps = 100
    for k in range(steps - 1):
        t = k / steps
        # p(x1 | x_t) is proportional to law(x1) (t [x_t = x1] + (1 - t) / 3)
        p = law * (t * one_hot(x, 3) + (1 - t) / 3)
        x = path.advance(x, path.velocity(p / p.sum(-1, keepdim=True), x, t), t, (k + 1) / steps, rng)
    share = x.flatten().bincount(minlength=3) / n
    t = (steps - 1) / steps
    torch.testing.assert_close(share.double(), t * law + (1 - t) / 3, atol=0.01, rtol=0)


def test_a_step_too_long_for_its_rates_still_gives_labels():
    rates = torch.tensor([[[-9.0, 6.0, 3.0]]]).expand(5000, 1, 3)
    x = Jump(3).advance(torch.zeros(5000, 1, dtype=torch.long), rates, 0.0, 0.5, Rng.of(0, 5000))
    share = x.flatten().bincount(minlength=3) / 5000
    torch.testing.assert_close(share, torch.tensor([0.0, 2 / 3, 1 / 3]), atol=0.03, rtol=0)


def sure_and_unsure(n=4000):
    """One entry in two is told with a chance of 0.99, the other with 0.6, all as class 0; the noise is class 2."""
    p = torch.tensor([[0.99, 0.01, 0.0], [0.6, 0.4, 0.0]]).repeat(n // 2, 1).expand(8, n, 3)
    return p, torch.full((8, n), 2), torch.ones(8, n, dtype=torch.bool)


def test_the_share_that_settles_is_the_surest():
    p, noise, there = sure_and_unsure()
    x = Jump(3).commit(p, 0.3, Rng.of(0, 8), noise, there, chance=0.0)
    settled = x != 2
    assert (settled.sum(1) == 1200).all()  # 0.3 of 4000
    assert settled[:, ::2].sum() == settled.sum()  # of those told with 0.99 there are enough
    assert (x[settled] == 0).all()


def test_with_enough_chance_any_may_settle():
    p, noise, there = sure_and_unsure()
    settled = Jump(3).commit(p, 0.3, Rng.of(0, 8), noise, there, chance=1e6) != 2
    shares = settled.float().view(8, -1, 2).mean((0, 1))
    torch.testing.assert_close(shares, torch.tensor([0.3, 0.3]), atol=0.02, rtol=0)


def test_what_is_not_there_takes_nobodys_place():
    p, noise, there = sure_and_unsure()
    there = there & (torch.arange(4000) < 1000)
    settled = (Jump(3).commit(p, 0.3, Rng.of(0, 8), noise, there, chance=1.0) != 2) & there
    assert (settled.sum(1) == 300).all()


def test_all_settle_in_the_end_on_what_is_likeliest():
    p, noise, there = sure_and_unsure()
    assert (Jump(3).commit(p, 1.0, Rng.of(0, 8), noise, there, chance=1.0) == 0).all()


def test_labels_that_lead_have_jumped_by_their_own_clock():
    """1 - (1 - t)^2 = 3/4 of them at t = 1/2, at rates that are twice the usual."""
    path, n = Jump(3, lead=2.0), 20_000
    x0, x1 = torch.zeros(n, 1, dtype=torch.long), torch.ones(n, 1, dtype=torch.long)
    x = path.sample(x0, x1, torch.full((n,), 0.5), Rng.of(0, n))
    assert path.clock(0.5) == 0.75
    torch.testing.assert_close((x == 1).float().mean(), torch.tensor(0.75), atol=0.01, rtol=0)
    end = torch.tensor([0.5, 0.25, 0.25]).view(1, 1, 3)
    torch.testing.assert_close(path.velocity(end, x0[:1], 0.5), 2 * Jump(3).velocity(end, x0[:1], 0.5))


@pytest.mark.parametrize("lead", [0.5, 1.0, 2.0])
def test_a_step_and_its_halves_lead_as_far_as_the_path(lead):
    """With the endpoint known, as many labels have jumped after a step from the path's law as the path has at its end;
    and back again."""
    path, n = Jump(2, lead), 40_000
    rng, x0, x1 = Rng.of(0, n), torch.zeros(n, 1, dtype=torch.long), torch.ones(n, 1, dtype=torch.long)
    end = one_hot(x1, 2).float()
    start = path.sample(x0, x1, torch.full((n,), 0.2), rng)
    there = path.hold(start, end, 0.2, 0.7, rng)
    halfway = path.hold(path.hold(start, end, 0.2, 0.45, rng), end, 0.45, 0.7, rng)
    again = path.back(there, 0.7, 0.4, x0, rng)
    for x, t in ((there, 0.7), (halfway, 0.7), (again, 0.4)):
        torch.testing.assert_close(x.float().mean(), torch.tensor(path.clock(t)), atol=0.01, rtol=0)


def test_haste_is_a_lead_that_only_the_sampler_knows():
    t, s, haste = 0.3, 0.5, 3.0
    assert Jump(3).share(ahead(Jump(3), t, s, haste), t) == pytest.approx(Jump(3, lead=haste).share(s, t))


def test_a_lead_is_above_nought():
    with pytest.raises(UserError, match="lead must be above 0, not 0"):
        Jump(3, lead=0)
