"""At which times the network is trained: a law on (0, 1), sampled through its quantiles from one uniform number."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.rng import Rng


class Times(Protocol):
    def __call__(self, rng: Rng) -> Tensor:
        """Times [B] in (0, 1), one a molecule."""
        ...


class Uniform:
    """t ~ U(0, 1)."""

    def __call__(self, rng: Rng) -> Tensor:
        return rng.uniform()


class LogitNormal:
    """logit t ~ N(mean, sd^2): most of the effort in the middle of the path (Esser et al. 2024)."""

    def __init__(self, mean: float = 0.0, sd: float = 1.0):
        if sd <= 0:
            raise UserError(f"times logit_normal: sd must be above 0, not {sd}")
        self.mean, self.sd = mean, sd

    def __call__(self, rng: Rng) -> Tensor:
        return torch.sigmoid(self.mean + self.sd * rng.normal())


class Beta:
    """t ~ Beta(a, b); a > b leans towards the data, where the fine structure is decided."""

    def __init__(self, a: float = 2.0, b: float = 1.0):
        if a <= 0 or b <= 0:
            raise UserError(f"times beta: a and b must be above 0, not {a} and {b}")
        from scipy.stats import beta

        self.quantiles = torch.as_tensor(beta.ppf(torch.linspace(0, 1, 4097).double().numpy(), a, b)).float()

    def __call__(self, rng: Rng) -> Tensor:
        u = rng.uniform() * (len(self.quantiles) - 1)
        table, low = self.quantiles.to(u.device), u.long()
        return torch.lerp(table[low], table[low + 1], u - low)


TIMES = {"uniform": Uniform, "logit_normal": LogitNormal, "beta": Beta}
