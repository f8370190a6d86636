from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from molflow.paths.affine import Straight
from molflow.paths.path import Time, surprise
from molflow.rng import Rng


class OneHot(Straight):
    """x_t = (1 - t) x0 + t e(x1), straight from Gaussian noise to the corner e of the class: no chance on the way."""

    def __init__(self, states: int):
        self.states = states

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng, fresh: Tensor | None = None) -> Tensor:
        return super().sample(x0, one_hot(x1, self.states).to(x0.dtype), t, rng)

    def endpoint(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        return pred.softmax(-1)

    def loss(self, pred: Tensor, x: Tensor, x1: Tensor, t: Time) -> Tensor:
        return surprise(pred, x1)
