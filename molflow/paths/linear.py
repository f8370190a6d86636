from __future__ import annotations

import torch
from torch import Tensor

from molflow.paths.affine import Positions


class Linear(Positions):
    """x_t = (1 - t) x0 + t x1, so dx/dt = x1 - x0 = (x1 - x_t) / (1 - t): straight (Lipman et al. 2023).

    The regression on the velocity is the regression on the endpoint weighted by (1 - t)^-2.
    """

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(t)
        return one, -one
