"""A network read through a path: the vector field that solvers integrate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.device import in_bf16
from molflow.networks.network import Network
from molflow.paths.joint import Joint
from molflow.priors.prior import Product
from molflow.rng import Rng


class Flow:
    """u_t(x) = E[dx_t/dt | x_t = x], from the endpoint that the network predicts.

    One object a run: it counts the evaluations and hands each prediction to the next as a hint (self-conditioning, Chen
    et al. 2023), if the network was taught with such: ``hinted``. A ``temperature`` below 1 sharpens the predicted
    laws of labels, p^(1/T); a ``haste`` above 1 lets labels jump more often than their path does, so that they are
    settled while coordinates still move. ``steer`` has the last word on each predicted endpoint: (endpoint, x, t) ->
    endpoint. ``together`` draws the labels that jump from their laws at once, in the place of each by itself:
    (endpoint, x, rng, s) -> (labels, their laws given one another), and nothing where each is to be drawn apart.
    """

    def __init__(
        self,
        network: Callable[..., dict[str, Tensor]],
        path: Joint,
        prior: Product | None = None,
        temperature: float = 1.0,
        haste: float = 1.0,
        steer: Callable[[dict[str, Tensor], Batch, float], dict[str, Tensor]] | None = None,
        hinted: bool = True,
        together: Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]] | None = None,
        precision: str = "fp32",
    ):
        self.network, self.path, self.prior = network, path, prior
        self.temperature, self.haste, self.steer, self.hinted = temperature, haste, steer, hinted
        self.together, self.precision = together, precision
        self.hint: dict[str, Tensor] | None = None
        self.evaluations = 0

    @torch.no_grad()
    def endpoint(self, x: Batch, t: float, until: float | None = None) -> dict[str, Tensor]:
        """What the network expects at the end, seen from x at time t in [0, 1): the one evaluation.

        With ``until``, the endpoint that leads where the flow leads if it is held until then: a leap.
        """
        times = torch.full((len(x),), t, device=x.device)
        leap = {} if until is None else {"span": torch.full_like(times, until - t)}
        network = self.network.at(t) if isinstance(self.network, Network) else self.network
        network = in_bf16(network) if self.precision == "bf16" else network
        end = self.path.endpoint(network(x, times, hint=self.hint, **leap), x, t)
        end = self.steer(end, x, t) if self.steer else end
        if self.hinted:
            self.hint = end
        self.evaluations += 1
        if self.temperature == 1:
            return end
        return {name: self.sharpen(value) if name != "pos" else value for name, value in end.items()}

    def sharpen(self, p: Tensor) -> Tensor:
        return (p.clamp(min=1e-20).log() / self.temperature).softmax(-1)

    def velocity(self, x: Batch, t: float, since: float | None = None) -> dict[str, Tensor]:
        """dx/dt, and the rates of the labels: in a trial stage those of the time ``since`` which they wait."""
        return self.path.velocity(self.endpoint(x, t), x, t, since)

    def advance(self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None) -> Batch:
        """The state at s with the velocity held."""
        if self.together:
            v = {**v, **self.path.velocity(self.drawn(self.path.laws(v, x, t), x, s, rng), x, t)}
        return self.path.advance(x, v, t, s, rng, self.haste)

    def hold(
        self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng | None, churn: float = 0.0
    ) -> Batch:
        """The state at s with the endpoint held, a share of the noise renewed."""
        fresh = self.noise(x, rng) if churn and rng is not None else None
        end = self.drawn(end, x, s, rng)
        return self.path.hold(x, end, t, s, rng, fresh, churn, self.haste)

    def commit(self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng | None, chance: float) -> Batch:
        """The state at s with the endpoint held, and of the labels the surest settled instead of any."""
        if rng is None:
            return self.hold(x, end, t, s, rng)
        labels, laws = self.together(end, x, rng, s) if self.together else ({}, {})
        return self.path.commit(x, {**end, **laws}, t, s, rng, self.noise(x, rng), chance, self.haste, labels)

    def back(self, x: Batch, t: float, s: float, rng: Rng) -> Batch:
        """A state at an earlier time, as noisy as the path is there."""
        return self.path.back(x, t, s, self.noise(x, rng), rng)

    def renew(self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng) -> Batch:
        """The state at t with labels drawn anew, as from an earlier s: with the law of the path, if ``end`` has it."""
        return self.path.renew(x, self.drawn(end, x, t, rng), t, s, self.noise(x, rng), rng)

    def drawn(self, end: Mapping[str, Tensor], x: Batch, s: float, rng: Rng | None) -> Mapping[str, Tensor]:
        """The endpoint for a step to s, with labels that are drawn already where they are drawn together."""
        if not self.together or rng is None:
            return end
        labels, _ = self.together(end, x, rng, s)
        return {**end, **self.path.told(labels)}

    def clock(self, t: float) -> dict[str, float]:
        """For each field the share of data, alpha / (alpha + sigma)."""
        return self.path.clock(t)

    def noise(self, like: Batch, rng: Rng) -> Batch:
        if self.prior is None:
            raise UserError("this flow has no prior to draw fresh noise from: Flow(network, path, prior)")
        return self.prior(like, rng)
