"""Pure functions on coordinates [..., N, D] with a mask [..., N]."""

from __future__ import annotations

import torch
from torch import Tensor


def centre(pos: Tensor, mask: Tensor) -> Tensor:
    """Move each molecule's mean to the origin; the padding becomes zero."""
    outside = ~mask.unsqueeze(-1)
    mean = pos.masked_fill(outside, 0).sum(-2, keepdim=True) / mask.sum(-1).clamp(min=1)[..., None, None]
    return (pos - mean).masked_fill(outside, 0)


def random_rotation(normal: Tensor) -> Tensor:
    """Rotations [..., D, D] uniform over SO(D), from standard normal entries [..., D, D] (QR with its signs fixed)."""
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    flip = torch.ones_like(q[..., 0, :])
    flip[..., 0] = torch.linalg.det(q)
    return q * flip.unsqueeze(-2)


def kabsch(pos: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The proper rotation R [..., D, D] that minimises sum |pos R^T - target|^2 for centred clouds (Kabsch 1976)."""
    outside = ~mask.unsqueeze(-1)
    u, _, vt = torch.linalg.svd(target.masked_fill(outside, 0).transpose(-1, -2) @ pos.masked_fill(outside, 0))
    sign = torch.ones_like(u[..., 0, :])
    sign[..., -1] = torch.linalg.det(u @ vt).sign()
    return (u * sign.unsqueeze(-2)) @ vt


def rotate(pos: Tensor, rotation: Tensor) -> Tensor:
    """Apply R [..., D, D] to each row of [..., N, D]."""
    return pos @ rotation.transpose(-1, -2)


def pair_distances(pos: Tensor, floor: float = 1e-12) -> Tensor:
    """|x_i - x_j| [..., N, N]; the floor keeps the square root's gradient finite on the diagonal."""
    difference = pos.unsqueeze(-2) - pos.unsqueeze(-3)
    return difference.square().sum(-1).clamp(min=floor).sqrt()


def sum_squares(pos: Tensor, mask: Tensor) -> Tensor:
    """Sum of squared coordinates of each molecule, [...]."""
    return pos.square().sum(-1).masked_fill(~mask, 0).sum(-1)
