from __future__ import annotations

import math

from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.geometry import centre
from molflow.priors.prior import Prior
from molflow.rng import Rng


class Ball(Prior):
    """x0 uniform in the ball of radius scale sqrt(D + 2), where a coordinate's standard deviation is ``scale``.

    No atom starts far out, unlike a Gaussian's. Once the mean of a molecule is removed its density is no longer known
    in closed form, so it has none.
    """

    fields = ("pos",)

    def __init__(self, field: str, channels: int, scale: float = 1.0, centred: bool = True):
        if scale <= 0:
            raise UserError(f"prior ball of {field}: scale must be above 0, not {scale}")
        self.field, self.channels, self.scale, self.centred = field, channels, scale, centred
        self.radius = scale * math.sqrt(channels + 2)

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        direction = rng.normal(*shape, self.channels)
        distance = self.radius * rng.uniform(*shape) ** (1 / self.channels)
        return direction * (distance / direction.norm(dim=-1).clamp(min=1e-12)).unsqueeze(-1)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = super().__call__(like, rng)
        return x0.replace(pos=centre(x0.pos, x0.mask)) if self.centred else x0

    def log_prob(self, x: Batch) -> Tensor:
        if self.centred:
            return super().log_prob(x)
        D = self.channels
        volume = D / 2 * math.log(math.pi) - math.lgamma(D / 2 + 1) + D * math.log(self.radius)
        outside = ((x.pos.norm(dim=-1) > self.radius) & x.mask).any(1)
        return (-volume * x.sizes.to(x.pos)).masked_fill(outside, -math.inf)
