"""Steps of geometry whose derivatives are written out: half the operations of those that autograd would chain."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molflow.networks.layers.radial import Radial


def normalised(v: Tensor) -> Tensor:
    """Vectors [B, N, K, D] shortened to a root mean square below one.

    >>> bool(normalised(torch.full((1, 1, 2, 3), 1e6)).square().sum() < 2 + 1e-5)
    True
    """
    return _Normalised.apply(v)


def measured(pos: Tensor, mask: Tensor, radial: Radial) -> tuple[Tensor, Tensor]:
    """Between positions [B, N, D]: radial functions of |x_j - x_i|, [R, B, N, N], and (x_j - x_i) / (1 + |x_j - x_i|).

    The latter, [D, B, N, N], is zero where j is padding, which ``mask`` [B, N] has as 0.
    """
    return _Measured.apply(pos, mask, radial)


class _Normalised(torch.autograd.Function):
    """u = s v with s = (v.v / K + 1)^(-1/2), so dv = s (du - u (u.du) / K)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        scale = v.square().sum((-1, -2), keepdim=True).div_(v.shape[-2]).add_(1).rsqrt_()
        u = v * scale
        ctx.save_for_backward(u, scale)
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        u, scale = ctx.saved_tensors
        along = (u * grad).sum((-1, -2), keepdim=True)
        return torch.addcmul(grad, u, along, value=-1 / u.shape[-2]).mul_(scale)


class _Measured(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pos: Tensor, mask: Tensor, radial: Radial) -> tuple[Tensor, Tensor]:
        d, r = distances(pos)
        features = radial(d, 0)
        scale = mask.unsqueeze(1) / (1 + d)
        ctx.save_for_backward(d, r, features, scale)
        ctx.radial = radial
        return features, r * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_features: Tensor, of_r: Tensor) -> tuple[Tensor | None, ...]:
        d, r, features, scale = ctx.saved_tensors
        mu, steepness = (value.view(-1, 1, 1, 1) for value in (ctx.radial.mu, ctx.radial.steepness))
        of_d = (d.unsqueeze(0) - mu).mul_(features).mul_(of_features).mul_(2 * math.log(2) * steepness).sum(0)
        of_d.addcdiv_((r * of_r).sum(0).mul_(scale), 1 + d, value=-1)
        grad = (of_r * scale).addcmul_(r, of_d.div_(d))
        return (grad.sum(2) - grad.sum(3)).permute(1, 2, 0), None, None


def distances(pos: Tensor) -> tuple[Tensor, Tensor]:
    """|x_j - x_i| [B, N, N] and x_j - x_i [D, B, N, N]."""
    axes = pos.permute(2, 0, 1)
    r = axes.unsqueeze(2) - axes.unsqueeze(3)
    return (r.square().sum(0) + 1e-12).sqrt(), r
