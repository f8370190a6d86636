from __future__ import annotations

from typing import Literal

from torch import Tensor

from molflow.build import UserError
from molflow.paths.affine import Positions
from molflow.paths.path import Time, column
from molflow.rng import Rng


class Interpolant(Positions):
    """x_t = (1 - t) x0 + t x1 + gamma(t) z, gamma = ``noise`` t (1 - t): stochastic (Albergo et al. 2023).

    z is a second draw of the noise, so x_t spreads about x1 by sigma^2 = (1 - t)^2 + gamma^2. It keeps
    pairs apart that a coupling has drawn close, where straight paths would cross. What x_t says of x0 and z is not one
    thing where noise is paired, so what is learnt is the endpoint whose velocity is x1 - x0 + gamma'(t) z: on the
    average over all ways through x_t, that is the flow's.
    """

    mixes = True

    def __init__(
        self,
        noise: float = 1.0,
        predicts: Literal["endpoint", "noise", "velocity", "preconditioned"] = "endpoint",
        weigh: Literal["velocity", "noise", "endpoint"] = "velocity",
        cap: float = 100.0,
    ):
        super().__init__(predicts, weigh, cap)
        if noise < 0:
            raise UserError(f"path interpolant: noise must be 0 or more, not {noise}")
        self.amount = noise

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return (1 - t) * (1 + (self.amount * t).square()).sqrt()

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng, fresh: Tensor | None = None) -> Tensor:
        return super().sample(x0, x1, t, rng) if fresh is None else self.between(x0, x1, t, fresh)

    def between(self, x0: Tensor, x1: Tensor, t: Time, fresh: Tensor) -> Tensor:
        t = column(t, x1)
        return t * x1 + (1 - t) * x0 + self.amount * t * (1 - t) * fresh

    def goal(self, x0: Tensor, x1: Tensor, t: Time, fresh: Tensor | None = None) -> Tensor:
        if fresh is None:
            return x1
        velocity = x1 - x0 + self.amount * (1 - 2 * column(t, x1)) * fresh
        return self.end_of(velocity, self.between(x0, x1, t, fresh), t)
