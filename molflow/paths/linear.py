from __future__ import annotations

import torch
from torch import Tensor

from molflow.paths.path import Path, Time, column
from molflow.rng import Rng


class Linear(Path):
    """x_t = (1 - t) x0 + t x1, so dx/dt = x1 - x0 = (x1 - x_t) / (1 - t) (Lipman et al. 2023); the network predicts x1.

    The regression on the velocity is the regression on the endpoint weighted by (1 - t)^-2; ``cap`` bounds that weight.
    """

    def __init__(self, cap: float = 100.0):
        self.cap = cap

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng) -> Tensor:
        t = column(t, x1)
        return (1 - t) * x0 + t * x1

    def endpoint(self, pred: Tensor) -> Tensor:
        return pred

    def loss(self, pred: Tensor, x1: Tensor, t: Time) -> Tensor:
        error = (pred - x1).square().mean(-1)
        weight = (1 - torch.as_tensor(t)).clamp(min=1e-6).pow(-2).clamp(max=self.cap)
        return error * column(weight, error)

    def velocity(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        return (pred - x) / (1 - column(t, x))

    def advance(self, x: Tensor, v: Tensor, t: float, s: float, rng: Rng | None) -> Tensor:
        return x + (s - t) * v
