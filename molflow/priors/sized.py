from __future__ import annotations

from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.geometry import centre
from molflow.priors.gaussian import normal_log_prob
from molflow.priors.prior import Prior
from molflow.rng import Rng


class Sized(Prior):
    """x0 ~ N(0, s_N^2) with s_N = a N^b: noise as wide as molecules of N atoms are, ``law`` being (a, b).

    The law is fitted to the training molecules unless given. A ball of matter grows with b = 1/3, a stretched chain
    with b = 1, and molecules between the two.

    >>> Sized("pos", 3, law=(0.5, 0.5)).scales(Batch.of_sizes([4, 16])).tolist()
    [1.0, 2.0]
    """

    fields = ("pos",)
    normal = True

    def __init__(self, field: str, channels: int, law: tuple[float, float] = (0.5, 1 / 3), centred: bool = True):
        if law[0] <= 0:
            raise UserError(f"prior sized of {field}: law is (a, b) with a above 0, not {law[0]}")
        self.field, self.channels, self.law, self.centred = field, channels, law, centred

    def scales(self, like: Batch) -> Tensor:
        """s_N of each molecule, [B]."""
        return self.law[0] * like.sizes.clamp(min=1).float() ** self.law[1]

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return rng.normal(*shape, self.channels)

    def __call__(self, like: Batch, rng: Rng) -> Batch:
        x0 = super().__call__(like, rng)
        pos = self.scales(like)[:, None, None] * x0.pos
        return x0.replace(pos=centre(pos, x0.mask) if self.centred else pos)

    def log_prob(self, x: Batch) -> Tensor:
        return normal_log_prob(x.pos, x.mask, self.scales(x), self.centred)
