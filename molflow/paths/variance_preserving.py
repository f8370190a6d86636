from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from molflow.paths.affine import Positions

BETA_MIN, BETA_MAX = 0.1, 20.0
START, TURN = math.pi / 2 * 0.008 / 1.008, math.pi / 2 * 0.987  # the turn stops short of a quarter


class VariancePreserving(Positions):
    """Diffusion: x_t = alpha x1 + sqrt(1 - alpha^2) x0, with u = 1 - t the time of the noising process.

    ``schedule: linear`` has alpha = exp(-u^2 (20 - 0.1) / 4 - 0.1 u / 2) (Ho et al. 2020; Song et al. 2021);
    ``cosine`` has alpha ~ cos(pi/2 (u + 0.008) / 1.008), 1 at u = 0 (Nichol & Dhariwal 2021). Both keep less than 1 %
    of the data at t = 0, where the noise alone could not tell the endpoint.
    """

    diffusion = True

    def __init__(
        self,
        schedule: Literal["cosine", "linear"] = "cosine",
        predicts: Literal["endpoint", "noise", "velocity", "preconditioned"] = "endpoint",
        weigh: Literal["velocity", "noise", "endpoint"] = "velocity",
        cap: float = 100.0,
    ):
        super().__init__(predicts, weigh, cap)
        self.schedule = schedule

    def alpha(self, t: Tensor) -> Tensor:
        if self.schedule == "linear":
            return (-decay(1 - t)).exp()
        return (START + (1 - t) * TURN).cos() / math.cos(START)

    def sigma(self, t: Tensor) -> Tensor:
        """sqrt(1 - alpha^2), in forms that lose no digits where alpha nears 1."""
        if self.schedule == "linear":
            return (-torch.expm1(-2 * decay(1 - t))).sqrt()
        turned = (1 - t) * TURN
        return (turned.sin() * (turned + 2 * START).sin()).sqrt() / math.cos(START)


def decay(u: Tensor) -> Tensor:
    return u.square() * (BETA_MAX - BETA_MIN) / 4 + u * BETA_MIN / 2
