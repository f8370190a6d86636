"""Every path of numbers: x_t = alpha(t) x1 + sigma(t) x0, whatever alpha and sigma are."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.paths.path import Path, Time, column, time_at
from molflow.rng import Rng

LEAST = 2.0**-25  # of the time: nearer to its end it is 1 in single precision
LAST = 1e-6  # of the time, where sigma nears 0 and some curves are vertical: read as its beginning


class Affine(Path):
    """x_t = alpha(t) x1 + sigma(t) x0, from noise (alpha ~ 0, sigma ~ 1) to data (alpha = 1, sigma = 0).

    Given x_t, each of endpoint, noise and velocity gives the others, so flows and diffusions are one thing:

        x0_hat = (x - alpha x1_hat) / sigma,      v = alpha' x1_hat + sigma' x0_hat.
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor: ...

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """d alpha / dt and d sigma / dt."""
        one = torch.ones_like(t)
        return tuple(torch.func.jvp(curve, (t,), (one,))[1] for curve in (self.alpha, self.sigma))  # type: ignore

    def clock(self, t: float) -> float:
        alpha, sigma = (float(curve(torch.tensor(t, dtype=torch.float64))) for curve in (self.alpha, self.sigma))
        return alpha / (alpha + sigma)

    def levels(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma, shaped to broadcast against x."""
        t = time_at(t, x)
        return column(self.alpha(t), x), column(self.sigma(t), x)  # type: ignore

    def rates(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sigma, sigma' and alpha' sigma - alpha sigma' > 0, by which x1_hat and v are linear in one another."""
        t = time_at(t, x).clamp(max=1 - LAST)
        alpha, sigma = self.levels(t, x)
        rise, fall = (column(slope, x) for slope in self.slopes(t))
        return sigma, fall, rise * sigma - alpha * fall  # type: ignore

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng, fresh: Tensor | None = None) -> Tensor:
        alpha, sigma = self.levels(t, x1)
        return alpha * x1 + sigma * x0

    def noise(self, end: Tensor, x: Tensor, t: Time) -> Tensor:
        """The noise that, with this endpoint, makes x."""
        alpha, sigma = self.levels(t, x)
        return (x - alpha * end) / sigma

    def velocity(self, end: Tensor, x: Tensor, t: Time) -> Tensor:
        sigma, fall, rate = self.rates(t, x)
        return (rate * end + fall * x) / sigma

    def end_of(self, v: Tensor, x: Tensor, t: Time) -> Tensor:
        """The endpoint whose velocity v is."""
        sigma, fall, rate = self.rates(t, x)
        return (v * sigma - fall * x) / rate

    def advance(self, x: Tensor, v: Tensor, t: float, s: float, rng: Rng | None) -> Tensor:
        return self.end_of(v, x, t) if s >= 1 else x + (s - t) * v

    def hold(
        self, x: Tensor, end: Tensor, t: float, s: float, rng: Rng | None, fresh: Tensor | None = None, churn: float = 0
    ) -> Tensor:
        """alpha_s x1_hat + sigma_s x0_hat: Song et al.'s DDIM (2021), and with ``churn`` their generalised DDPM."""
        if s > 1 - LEAST:
            return end
        (alpha, sigma), (alpha_s, sigma_s) = self.levels(t, x), self.levels(s, x)
        noise = (x - alpha * end) / sigma
        if not churn or fresh is None:
            return alpha_s * end + sigma_s * noise
        variance = (churn * sigma_s) ** 2 * (1 - (alpha * sigma_s / (alpha_s * sigma)) ** 2)
        return alpha_s * end + (sigma_s**2 - variance).clamp(min=0).sqrt() * noise + variance.sqrt() * fresh

    def back(self, x: Tensor, t: float, s: float, fresh: Tensor, rng: Rng) -> Tensor:
        (alpha, sigma), (alpha_s, sigma_s) = self.levels(t, x), self.levels(s, x)
        ratio = alpha_s / alpha
        return ratio * x + (sigma_s**2 - (ratio * sigma) ** 2).clamp(min=0).sqrt() * fresh


class Straight(Affine):
    """alpha = t, sigma = 1 - t."""

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(t)
        return one, -one


class Positions(Affine):
    """An affine path of coordinates, with what the network's positions mean and how its errors weigh.

    ``predicts`` says how its output o is read: ``endpoint`` x1_hat = o; ``noise`` x0_hat = o; ``velocity`` v = o - x;
    ``preconditioned`` x1_hat = (alpha x + sigma (o - x)) / (alpha^2 + sigma^2), whose target has unit size where
    alpha^2 + sigma^2 = 1 (Karras et al. 2022, for data of the noise's scale). ``weigh`` says in whose units the error
    counts: the plain regression on the ``velocity``, on the ``noise`` as diffusion models have it, or on the
    ``endpoint``. Errors near the end of the path weigh at most ``cap`` times the endpoint's.
    """

    def __init__(
        self,
        predicts: Literal["endpoint", "noise", "velocity", "preconditioned"] = "endpoint",
        weigh: Literal["velocity", "noise", "endpoint"] = "velocity",
        cap: float = 100.0,
    ):
        if cap <= 0:
            raise UserError(f"path: cap must be above 0, not {cap}")
        self.predicts, self.weigh, self.cap = predicts, weigh, cap

    def endpoint(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        if self.predicts == "endpoint":
            return pred
        if self.predicts == "velocity":
            return self.end_of(pred - x, x, t)
        alpha, sigma = self.levels(t, x)
        if self.predicts == "noise":
            return (x - sigma * pred) / alpha.clamp(min=1e-3)
        return (alpha * x + sigma * (pred - x)) / (alpha**2 + sigma**2)

    def loss(self, pred: Tensor, x: Tensor, x1: Tensor, t: Time) -> Tensor:
        error = (self.endpoint(pred, x, t) - x1).square().mean(-1)
        return error * self.weight(t, error)

    def weight(self, t: Time, error: Tensor) -> Tensor | float:
        """How much a unit of what is weighed changes when the endpoint does, squared."""
        if self.weigh == "endpoint":
            return 1.0
        sigma, _, rate = self.rates(t, error)
        change = rate if self.weigh == "velocity" else self.levels(t, error)[0]
        return (change / sigma).square().clamp(max=self.cap)
