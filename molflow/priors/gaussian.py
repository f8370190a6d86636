from __future__ import annotations

from torch import Tensor

from molflow.batch import Batch
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
