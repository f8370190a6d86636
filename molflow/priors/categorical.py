from __future__ import annotations

import torch
from torch import Tensor

from molflow.priors.prior import Prior
from molflow.rng import Rng


class Uniform(Prior):
    """Each label independently uniform over the classes: wrong guesses that later steps repair."""

    discrete = True

    def __init__(self, field: str, channels: int):
        self.field, self.channels = field, channels

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return (rng.uniform(*shape) * self.channels).long().clamp(max=self.channels - 1)


class Mask(Prior):
    """Every label hidden: one more state, numbered after the classes, that no prediction can return to."""

    discrete = True

    def __init__(self, field: str, channels: int):
        self.field, self.channels = field, channels

    def states(self, classes: int) -> int:
        return classes + 1

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return torch.full((len(rng.keys), *shape), self.channels, dtype=torch.long, device=rng.keys.device)
