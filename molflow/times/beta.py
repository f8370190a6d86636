from __future__ import annotations

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.rng import Rng
from molflow.times.times import Times


class Beta(Times):
    """t ~ Beta(a, b); a > b leans towards the data, where the fine structure is decided."""

    def __init__(self, a: float = 2.0, b: float = 1.0):
        if a <= 0 or b <= 0:
            raise UserError(f"times beta: a and b must be above 0, not {a} and {b}")
        from scipy.stats import beta

        self.quantiles = torch.as_tensor(beta.ppf(torch.linspace(0, 1, 4097).double().numpy(), a, b)).float()

    def __call__(self, rng: Rng) -> Tensor:
        u = rng.uniform() * (len(self.quantiles) - 1)
        self.quantiles = self.quantiles.to(u.device)  # once: a copy at each call would have the host wait for it
        low = u.long()
        return torch.lerp(self.quantiles[low], self.quantiles[low + 1], u - low)
