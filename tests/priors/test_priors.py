from __future__ import annotations

import pytest

from molflow.batch import Batch
from molflow.build import UserError
from molflow.priors.categorical import Marginal, Mask, Uniform
from molflow.priors.gaussian import Gaussian
from molflow.rng import Rng

MANY = Batch.of_sizes([4] * 10_000)


def test_centred_noise_has_the_variance_that_the_mean_leaves():
    """Of 4 atoms, removing the mean leaves 3/4 of the variance: 1.4^2 * 0.75 = 1.47."""
    pos = Gaussian("pos", 3, scale=1.4)(MANY, Rng.of(0, len(MANY))).pos
    square = pos.double().square()
    assert abs(square.mean() - 1.47) < 5 * square.std() / square.numel() ** 0.5 * 2  # atoms of a molecule correlate


def test_noise_that_keeps_its_place_has_it_all():
    pos = Gaussian("pos", 2, scale=2.0, centred=False)(Batch.of_sizes([1] * 20_000, 2), Rng.of(0, 20_000)).pos
    square = pos.double().square()
    assert abs(square.mean() - 4) < 5 * square.std() / square.numel() ** 0.5


def test_labels_as_channels_are_not_centred():
    x = Gaussian("atom", 5)(MANY, Rng.of(0, len(MANY)))
    assert x.atom.shape == (10_000, 4, 5)
    assert x.atom.sum(1).abs().mean() > 0.5


@pytest.mark.parametrize("field, mask", [("atom", MANY.mask), ("bond", MANY.pair_mask)])
def test_uniform_labels_are_equally_common(field, mask):
    x = getattr(Uniform(field, 3)(MANY, Rng.of(0, len(MANY))), field)[mask]
    share = x.bincount(minlength=3) / len(x)
    assert len(share) == 3
    assert (share - 1 / 3).abs().max() < 5 * (2 / 9 / (len(x) / 2)) ** 0.5


def test_masked_labels_are_all_the_state_after_the_classes():
    mask = Mask("atom", 5)
    assert mask.states(5) == 6
    assert (mask(MANY, Rng.of(0, len(MANY))).atom == 5).all()
    bond = Mask("bond", 4)(Batch.of_sizes([2]), Rng.of(0, 1)).bond
    assert bond.tolist() == [[[0, 4], [4, 0]]]


def test_marginal_labels_are_as_common_as_their_shares():
    for field, mask in (("atom", MANY.mask), ("bond", MANY.pair_mask)):
        x = getattr(Marginal(field, 3, shares=[6, 0, 2])(MANY, Rng.of(0, len(MANY))), field)[mask]
        share = x.bincount(minlength=3) / len(x)
        assert share[1] == 0
        assert abs(share[0] - 0.75) < 5 * (0.75 * 0.25 / (len(x) / 2)) ** 0.5


@pytest.mark.parametrize("shares", [None, [1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_shares_that_say_nothing_are_refused(shares):
    with pytest.raises(UserError, match="prior marginal of atom: .*shares"):
        Marginal("atom", 2, shares=shares)
