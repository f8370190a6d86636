"""A network read through a path: the vector field that solvers integrate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.paths.joint import Joint
from molflow.rng import Rng


class Flow:
    """u_t(x) = E[dx_t/dt | x_t = x], from the endpoint that the network predicts.

    One object a run: it hands each prediction to the next evaluation (self-conditioning, Chen et al. 2023) and counts
    the evaluations.
    """

    def __init__(self, network: Callable[..., dict[str, Tensor]], path: Joint):
        self.network, self.path = network, path
        self.hint: dict[str, Tensor] | None = None
        self.evaluations = 0

    @torch.no_grad()
    def velocity(self, x: Batch, t: float) -> dict[str, Tensor]:
        """dx/dt, and the rates of the labels, at time t in [0, 1)."""
        times = torch.full((len(x),), t, device=x.device)
        pred = self.network(x, times, hint=self.hint)
        self.hint = self.path.endpoint(pred)
        self.evaluations += 1
        return self.path.velocity(pred, x, t)

    def advance(self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None) -> Batch:
        return self.path.advance(x, v, t, s, rng)
