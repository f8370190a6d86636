from __future__ import annotations

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.rng import Rng
from molflow.times.times import Times


class LogitNormal(Times):
    """logit t ~ N(mean, sd^2): most of the effort in the middle of the path (Esser et al. 2024)."""

    def __init__(self, mean: float = 0.0, sd: float = 1.0):
        if sd <= 0:
            raise UserError(f"times logit_normal: sd must be above 0, not {sd}")
        self.mean, self.sd = mean, sd

    def __call__(self, rng: Rng) -> Tensor:
        return torch.sigmoid(self.mean + self.sd * rng.normal())
