"""Distances as features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molflow.build import UserError


class Radial(nn.Module):
    """exp(-((d - mu_k) / w_k)^2), half of them between 0.5 and 2.2 angstrom, where bonds are, the rest to ``far``.

    As a power of two: far from its centre it vanishes, where exp on a CPU is many times slower than exp2.
    """

    mu: Tensor
    steepness: Tensor

    def __init__(self, count: int = 16, far: float = 10.0):
        super().__init__()
        if count < 4:
            raise UserError(f"network: radial must be at least 4, two for bonds and two for the rest, not {count}")
        near = torch.linspace(0.5, 2.2, count // 2)
        rest = torch.linspace(2.2, far, count - count // 2 + 1)[1:]
        mu = torch.cat([near, rest])
        width = torch.cat([(near[1] - near[0]).expand(len(near)), (rest[1] - rest[0]).expand(len(rest))])
        self.register_buffer("mu", mu, persistent=False)
        self.register_buffer("steepness", -math.log2(math.e) / width.square(), persistent=False)

    def forward(self, d: Tensor, dim: int = -1) -> Tensor:
        """[..., N, N] -> [..., N, N, count], or [count, ..., N, N] with ``dim`` 0."""
        shape = [-1 if axis == dim % (d.dim() + 1) else 1 for axis in range(d.dim() + 1)]
        mu, steepness = self.mu.view(shape), self.steepness.view(shape)
        square = (d.unsqueeze(dim) - mu).square()
        if d.is_cuda:  # where torch compiles exp2 when it is first used
            return square.mul_(steepness * math.log(2)).exp_()
        return square.mul_(steepness).exp2_()
