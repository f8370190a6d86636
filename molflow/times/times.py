"""What a law of training times is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from molflow.rng import Rng


class Times(ABC):
    """A law on (0, 1), sampled through its quantiles from one uniform number a molecule."""

    @abstractmethod
    def __call__(self, rng: Rng) -> Tensor:
        """Times [B], one a molecule."""

    def weight(self, t: Tensor) -> Tensor:
        """What a loss at these times counts in the mean, [B]."""
        return torch.ones_like(t)

    def yardstick(self) -> Times:
        """The law that validation goes by, the same at each step of a run."""
        return self

    def learn(self, t: Tensor, loss: Tensor) -> None:  # noqa: B027 - most laws learn nothing
        """Told of the loss [B] of each molecule after each step of training, for a law that depends on it."""

    def state(self) -> dict[str, Tensor]:
        """What has been learnt, for a checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Go on from a state."""
