"""Distances as features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Radial(nn.Module):
    """exp(-((d - mu_k) / w_k)^2), half of them between 0.5 and 2.2 angstrom, where bonds are, the rest to ``far``.

    As a power of two: far from its centre it vanishes, where exp on a CPU is many times slower than exp2.
    """

    mu: Tensor
    inverse: Tensor

    def __init__(self, count: int = 16, far: float = 10.0):
        super().__init__()
        near = torch.linspace(0.5, 2.2, count // 2)
        rest = torch.linspace(2.2, far, count - count // 2 + 1)[1:]
        mu = torch.cat([near, rest])
        width = torch.cat([(near[1] - near[0]).expand(len(near)), (rest[1] - rest[0]).expand(len(rest))])
        self.register_buffer("mu", mu, persistent=False)
        self.register_buffer("inverse", math.log2(math.e) ** 0.5 / width, persistent=False)

    def forward(self, d: Tensor) -> Tensor:
        """[..., N, N] -> [..., N, N, count]."""
        return torch.exp2(-((d.unsqueeze(-1) - self.mu) * self.inverse).square())
