"""Methods that would go wrong without a word say so before a step is taken."""

from __future__ import annotations

import pytest
import torch

from molflow.batch import Batch
from molflow.build import UserError
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.paths.one_hot import OneHot
from molflow.paths.variance_preserving import VariancePreserving
from molflow.priors.ball import Ball
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.solvers.ancestral import Ancestral
from molflow.solvers.churn import Churn
from molflow.solvers.dopri5 import DormandPrince5
from molflow.solvers.integrate import integrate
from molflow.solvers.multistep import Multistep

BALL, GAUSSIAN = Product([Ball("pos", 3)]), Product([Gaussian("pos", 3)])


@pytest.mark.parametrize(
    ("solver", "path", "prior", "message"),
    [
        (Ancestral(), Linear(), GAUSSIAN, "path.pos linear is none: its noise may be paired .* take ddim, or churn"),
        (Ancestral(), VariancePreserving(), BALL, "only where the prior is gaussian, and it is ball; take .* ddim"),
        (Churn(), Linear(), BALL, "keeps the law of pos only where the prior is gaussian"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(solver, path, prior, message):
    with pytest.raises(UserError, match=message):
        solver.fits(Joint({"pos": path}), prior)


def test_ancestral_sampling_has_no_continuous_labels_on_straight_paths():
    paths = {"pos": VariancePreserving(), "atom": OneHot(3)}
    with pytest.raises(UserError, match="path.atom onehot is none"):
        Ancestral().fits(Joint(paths), GAUSSIAN)
    Ancestral().fits(Joint({**paths, "atom": Jump(3)}), GAUSSIAN)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Churn(amount=-0.1), "amount must be between 0 and 1, not -0.1"),
        (lambda: Multistep(reuse=2), "reuse must be between 0 and 1, not 2"),
        (lambda: DormandPrince5(rtol=0), "rtol and atol above 0"),
    ],
)
def test_keywords_out_of_range_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


class Noise:
    """A field without continuity, which no step resolves."""

    def velocity(self, x, t, since=None):
        return {"pos": torch.sin(1e7 * x.pos + 1e9 * t) * 1e3}

    def advance(self, x, v, t, s, rng):
        return x.replace(pos=x.pos + (s - t) * v["pos"])


def test_what_no_step_resolves_ends_with_an_explanation():
    x = Batch.of_points(torch.ones(1, 2, 3))
    with pytest.raises(UserError, match="dopri5 has spent 100 evaluations .* larger rtol and atol"):
        integrate(Noise(), x, [0.0, 1.0], DormandPrince5(most=100), Rng.of(0, 1))
