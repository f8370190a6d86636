from __future__ import annotations

import math

import torch
from torch import Tensor

from molflow.batch import PAIR_FIELDS, Batch
from molflow.build import UserError
from molflow.geometry import centre
from molflow.priors.prior import Prior
from molflow.rng import Rng


class Gaussian(Prior):
    """x0 ~ N(0, scale^2): coordinates with the mean of each molecule removed, or label channels.

    >>> noise = Gaussian("pos", channels=3, scale=1.4)(Batch.of_sizes([5, 9]), Rng.of(0, 2))
    >>> bool(noise.pos.sum(1).abs().max() < 1e-5)
    True
    """

    normal = True

    def __init__(self, field: str, channels: int, scale: float = 1.0, centred: bool = True):
        if scale <= 0:
            raise UserError(f"prior gaussian of {field}: scale must be above 0, not {scale}")
        self.field, self.channels, self.scale = field, channels, scale
        self.centred = centred and field == "pos"

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return self.scale * rng.normal(*shape, self.channels)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = super().__call__(like, rng)
        return x0.replace(pos=centre(x0.pos, x0.mask)) if self.centred else x0

    def log_prob(self, x: Batch) -> Tensor:
        value = getattr(x, self.field)
        mask = x.pair_mask.triu() if self.field in PAIR_FIELDS else x.mask
        return normal_log_prob(value, mask, torch.full((len(x),), self.scale), self.centred)


def normal_log_prob(value: Tensor, mask: Tensor, scale: Tensor, centred: bool) -> Tensor:
    """log N(value; 0, scale^2) [B] of the entries [B, ..., C] within the mask; ``scale`` [B] is each molecule's.

    A centred cloud has one entry fewer to be free in: its density is that on the plane of zero mean.
    """
    value = centre(value, mask) if centred else value.masked_fill(~mask.unsqueeze(-1), 0)
    scale = scale.to(value)
    free = (mask.flatten(1).sum(1) - int(centred)).clamp(min=0) * value.shape[-1]
    return -value.flatten(1).square().sum(1) / (2 * scale**2) - free * (scale.log() + math.log(2 * math.pi) / 2)
