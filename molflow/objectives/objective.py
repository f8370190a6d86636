"""The training idea on one screen: noise, a pairing, a point on the way, and the endpoint to predict from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.chem.census import CENSUS, UNKNOWN, take
from molflow.couplings.coupling import Coupling
from molflow.geometry import centre
from molflow.objectives.distances import DISTANCES, distances
from molflow.paths.joint import Joint
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.times.times import Times

TOLD = 0.9  # of the molecules, whose census a network is told
_STREAM = 0x701D  # which they are: apart from the noise, which is the same for networks that are told nothing


class Objective:
    """L = E over t, (x0, x1) ~ q, x_t ~ p_t(. | x0, x1) of sum_f w_f loss_f(network(x_t, t), x1).

    ``hint`` is the share of steps that first predict without a hint and then train with that prediction as the hint.
    A weight of ``distances`` adds, beside the losses of the fields, the errors of distances between near atoms.
    ``census``, the classes of each label, has the network told what most molecules have.
    """

    leaps = False  # whether it asks the network for spans

    def __init__(
        self,
        prior: Product,
        coupling: Coupling,
        path: Joint,
        times: Times,
        weights: Mapping[str, float],
        hint: float = 0.5,
        centred: bool = True,
        census: Mapping[str, int] | None = None,
    ):
        self.prior, self.coupling, self.path, self.times = prior, coupling, path, times
        self.weights, self.hint, self.centred, self.census = dict(weights), hint, centred, census
        self.hinted = hint > 0  # also in the ways without one
        # x1 is in the mean the endpoint to learn, and less noisy, where old noise and new are normal and of no molecule
        self.simple = not coupling.pairs and all(one.normal or not path.paths[one.field].mixes for one in prior.priors)

    def pair(self, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        """Molecules with their noise."""
        x1 = self.told(self.placed(x1), rng)
        x0, x1 = self.coupling(self.prior(x1, rng), x1, rng)
        return x0.replace(props=x1.props), x1

    def report(self, x1: Batch, rng: Rng) -> dict[str, float]:
        """What the couplings do to molecules: the transport cost, before and after, and figures of their own."""
        x1 = self.placed(x1)
        return self.coupling.report(self.prior(x1, rng), x1, rng)

    def placed(self, x1: Batch) -> Batch:
        """Molecules about the origin, where they have no place of their own."""
        return x1.replace(pos=centre(x1.pos, x1.mask)) if self.centred else x1

    def told(self, x1: Batch, rng: Rng) -> Batch:
        """Molecules with their census, where the network reads it; a few keep it, so that it learns to go without."""
        if self.census is None:
            return x1
        silent = rng.apart(_STREAM).uniform() >= TOLD
        census = take(x1, self.census).masked_fill(silent.unsqueeze(1), UNKNOWN)
        return x1.replace(props={**x1.props, CENSUS: census})

    def fresh(self, x1: Batch, rng: Rng) -> Batch | None:
        """A second draw of the noise, for paths that mix one in."""
        return self.prior(x1, rng) if self.path.mixes else None

    def each(self, network, x1: Batch, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        """The time of each molecule [B], and for each field, and for distances if weighed, the losses [B]."""
        x0, x1 = self.pair(x1, rng)
        return self.match(network, x0, x1, rng)

    def match(self, network, x0: Batch, x1: Batch, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        """The times and losses of molecules with their noise."""
        times = self.times if torch.is_grad_enabled() else self.times.yardstick()
        t, fresh = times(rng), self.fresh(x1, rng)
        x = self.path.sample(x0, x1, t, rng, fresh)
        hint = None
        if rng.scalar() < self.hint:
            with torch.no_grad():
                hint = self.path.endpoint(network(x, t), x, t)
        goal = x1 if self.simple else self.path.goal(x0, x1, t, fresh)
        losses = self.losses(network(x, t, hint=hint), x, x1, t, goal)
        weight = times.weight(t)
        if torch.is_grad_enabled():  # training, not validation
            times.learn(t, self.total(losses))
        return t, {name: weight * loss for name, loss in losses.items()}

    def losses(self, pred: Mapping[str, Tensor], x: Batch, x1: Batch, t: Tensor, goal: Batch) -> dict[str, Tensor]:
        """What a prediction costs, [B] each: of every field, and of distances if they have a weight.

        The endpoint to learn, ``goal``, is mostly the molecule x1 itself.
        """
        losses = self.path.loss(pred, x, goal, t)
        if self.weights.get(DISTANCES):
            losses[DISTANCES] = distances(self.path, pred, x, x1, t)
        return losses

    def ways(self) -> Iterator[float]:
        """Without the hint and with it, one after another: the share of steps that are such."""
        share = self.hint
        try:
            for self.hint, weight in ((0.0, 1 - share), (1.0, share)):
                if weight:
                    yield weight
        finally:
            self.hint = share

    def __call__(self, network, x1: Batch, rng: Rng) -> dict[str, Tensor]:
        """The losses, their means over molecules."""
        return {name: loss.mean() for name, loss in self.each(network, x1, rng)[1].items()}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum that training descends."""
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum(0)
