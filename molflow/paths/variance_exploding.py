from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.paths.affine import Positions


class VarianceExploding(Positions):
    """Diffusion: x1 + r(t) x0 with r falling from ``largest`` to 0, log-linearly until it nears ``smallest``.

    The state is kept at the size of the data, x_t = (x1 + r x0) / sqrt(1 + r^2), which is the input scaling of Karras
    et al. (2022) built into the path: holding an endpoint is their Euler step in r, and their preconditioning is
    ``predicts: preconditioned``. r is in units of the noise's scale, that is of the data's standard deviation.
    """

    diffusion = True

    def __init__(
        self,
        largest: float = 60.0,
        smallest: float = 0.002,
        predicts: Literal["endpoint", "noise", "velocity", "preconditioned"] = "preconditioned",
        weigh: Literal["velocity", "noise", "endpoint"] = "noise",
        cap: float = 100.0,
    ):
        super().__init__(predicts, weigh, cap)
        if not 0 < smallest < 1 < largest:
            raise UserError(f"path variance_exploding: 0 < smallest < 1 < largest, not {smallest} and {largest}")
        self.largest, self.fall = largest, math.log(largest / smallest)

    def ratio(self, t: Tensor) -> Tensor:
        """sigma / alpha: the noise beside the data."""
        return self.largest * torch.expm1(self.fall * (1 - t)) / math.expm1(self.fall)

    def alpha(self, t: Tensor) -> Tensor:
        return (1 + self.ratio(t).square()).rsqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return self.ratio(t) * self.alpha(t)
