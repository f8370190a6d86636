from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from molflow.paths.path import Path, Time, column
from molflow.rng import Rng


class OneHot(Path):
    """x_t = (1 - t) x0 + t e(x1), straight from Gaussian noise to the corner e of the class: no chance on the way."""

    def __init__(self, states: int):
        self.states = states

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng) -> Tensor:
        t = column(t, x0)
        return (1 - t) * x0 + t * one_hot(x1, self.states)

    def endpoint(self, pred: Tensor) -> Tensor:
        return pred.softmax(-1)

    def loss(self, pred: Tensor, x1: Tensor, t: Time) -> Tensor:
        return cross_entropy(pred.flatten(0, -2), x1.flatten(), reduction="none").view(x1.shape)

    def velocity(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        return (self.endpoint(pred) - x) / (1 - column(t, x))

    def advance(self, x: Tensor, v: Tensor, t: float, s: float, rng: Rng | None) -> Tensor:
        return x + (s - t) * v
