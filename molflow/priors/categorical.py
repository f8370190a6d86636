from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from molflow.build import UserError
from molflow.priors.prior import LABELS, Prior
from molflow.rng import Rng


class Uniform(Prior):
    """Each label independently uniform over the classes: wrong guesses that later steps repair."""

    discrete = True
    fields = LABELS

    def __init__(self, field: str, channels: int):
        self.field, self.channels = field, channels

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return (rng.uniform(*shape) * self.channels).long().clamp(max=self.channels - 1)


class Mask(Prior):
    """Every label hidden: one more state, numbered after the classes, that no prediction can return to."""

    discrete = True
    fields = LABELS

    def __init__(self, field: str, channels: int):
        self.field, self.channels = field, channels

    def states(self, classes: int) -> int:
        return classes + 1

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        return torch.full((len(rng.keys), *shape), self.channels, dtype=torch.long, device=rng.keys.device)


class Marginal(Prior):
    """Each label independently as common as among the training molecules: nothing rare is started from in excess.

    ``shares`` are the classes' frequencies; a model learns them from its data unless they are given.
    """

    discrete = True
    fields = LABELS

    def __init__(self, field: str, channels: int, shares: Sequence[float] | None = None):
        if shares is None:
            raise UserError(f"prior marginal of {field}: the shares of the classes are not known; give them as shares")
        if len(shares) != channels or min(shares) < 0 or not 0 < sum(shares) < math.inf:
            raise UserError(f"prior marginal of {field}: shares must be {channels} numbers of 0 or more, not {shares}")
        self.field, self.channels = field, channels
        self.shares = [share / sum(shares) for share in shares]

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        below = torch.tensor(self.shares, dtype=torch.float64, device=rng.keys.device).cumsum(0)
        last = max(k for k, share in enumerate(self.shares) if share > 0)
        return torch.searchsorted(below, rng.uniform(*shape).double()).clamp(max=last)
