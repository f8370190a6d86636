"""What every prior must do: docs/design.md, the contract of priors."""

from __future__ import annotations

import pytest
import torch

from molflow.batch import PAIR_FIELDS, Batch
from molflow.build import UserError, resolve
from molflow.priors import PRIORS
from molflow.priors.prior import Product
from molflow.rng import Rng

SERVED = [(name, field) for name in sorted(PRIORS) for field in resolve(PRIORS[name]).fields]
SHARES = {"atom": [0.5, 0.0, 0.2, 0.2, 0.1], "charge": [0.1, 0.8, 0.1], "bond": [0.7, 0.2, 0.1, 0.0]}


@pytest.fixture(params=SERVED, ids="-".join)
def prior(request, make):
    """A prior of one field, as an experiment builds it."""
    name, field = request.param
    channels = 3 if field == "pos" else make.CLASSES[field]
    return make.member("prior", PRIORS, name, field=field, channels=channels, shares=SHARES.get(field))


def noise(prior, sizes, seed=0, ids=None, atoms=None):
    like = Batch.of_sizes(list(sizes)).pad_to(atoms or max(sizes))
    return prior(like, Rng(seed, torch.arange(len(like)) if ids is None else torch.tensor(ids)))


def test_the_sizes_are_those_asked_and_the_padding_is_zero(prior, make):
    x = noise(prior, make.SIZES, atoms=11)
    value = getattr(x, prior.field)
    mask = x.pair_mask if prior.field in PAIR_FIELDS else x.mask
    assert x.sizes.tolist() == list(make.SIZES)
    assert value.shape[: mask.ndim] == mask.shape
    assert not value[~mask].any()


def test_same_stream_same_sample_and_another_seed_another(prior, make):
    a, b, c = (getattr(noise(prior, make.SIZES, seed), prior.field) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    constant = not a.is_floating_point() and len(a[a != 0].unique()) == 1  # all hidden: nothing to draw
    assert constant or not torch.equal(a, c)


def test_a_molecule_has_the_same_noise_alone_in_a_batch_and_beside_padding(prior, make):
    together = noise(prior, make.SIZES, atoms=11)
    for b, n in enumerate(make.SIZES):
        alone = noise(prior, [n], ids=[b])
        torch.testing.assert_close(
            getattr(alone, prior.field), getattr(together[b], prior.field), rtol=0, atol=1e-5, msg=f"molecule {b}"
        )


def test_pairs_are_symmetric(prior, make):
    if prior.field in PAIR_FIELDS:
        value = getattr(noise(prior, make.SIZES), prior.field)
        assert torch.equal(value, value.transpose(1, 2))


def test_labels_are_states_that_a_network_is_told_of(prior, make):
    x = noise(prior, [20] * 50)
    value = getattr(x, prior.field)
    if prior.field == "pos" or value.is_floating_point():
        return
    classes = make.CLASSES[prior.field]
    assert prior.states(classes) >= classes
    assert int(value.min()) >= 0
    assert int(value.max()) < prior.states(classes)


def test_coordinates_have_zero_mean_where_claimed(prior, make):
    if prior.field == "pos":
        mean = noise(prior, make.SIZES).pos.sum(1).abs().max()
        assert (mean < 1e-5) == getattr(prior, "centred", False)


def test_moments_are_unchanged_by_rotation(prior, make):
    """Second and fourth moments along the axes and along turned axes agree within 5 standard errors."""
    if prior.field != "pos":
        return
    pos = noise(prior, [4] * 20_000).pos[:, 0].double()  # one atom a molecule: independent draws
    turned = pos @ make.rotation().T
    for power in (1, 2, 3, 4):
        a, b = pos**power, turned**power
        difference = torch.cat([a - b, a[:, :1] - a[:, 1:]], 1)
        z = difference.mean(0) / (difference.std(0) / len(pos) ** 0.5)
        assert z.abs().max() < 5, f"moment {power}: z = {z.tolist()}"
    both = pos[:, 0] * pos[:, 1]
    assert abs(both.mean() / (both.std() / len(pos) ** 0.5)) < 5


def test_only_its_own_field_is_replaced(prior, make):
    like = make.molecules(fields=("atom", "bond"))
    x = prior(like, Rng.of(0, len(like)))
    for field in set(like.fields) - {prior.field}:
        assert torch.equal(getattr(x, field), getattr(like, field))


def test_priors_of_several_fields_leave_nothing_of_the_molecule(make):
    like = make.molecules(fields=("atom", "charge", "bond"))
    coordinates = make.member("prior", PRIORS, "gaussian", field="pos", channels=3)
    labels = make.member("prior", PRIORS, "uniform", field="atom", channels=5)
    x = Product([coordinates, labels])(like, Rng.of(0, len(like)))
    assert x.fields == ("pos", "atom")
    assert not torch.equal(x.pos, like.pos)
    assert not torch.equal(x.atom, like.atom)


def test_a_density_where_there_is_one_is_of_each_molecule_alone(prior, make):
    """The same alone and beside padding, and lower for noise that is twice as wide."""
    x = noise(prior, make.SIZES, atoms=11)
    try:
        together = prior.log_prob(x)
    except UserError:
        return
    assert together.shape == (len(make.SIZES),)
    for b in range(len(x)):
        torch.testing.assert_close(prior.log_prob(x[b])[0], together[b], rtol=1e-4, atol=1e-4)
    many = noise(prior, [4] * 1000)
    wide = many.replace(**{prior.field: 2 * getattr(many, prior.field)})
    assert prior.log_prob(many).mean() > prior.log_prob(wide).mean()
