"""What a path is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from molflow.rng import Rng

Time = Tensor | float  # [B] while training, one number while sampling


class Path(ABC):
    """From x0 at t = 0 to x1 at t = 1 for ONE field, and how a predicted endpoint moves a state along it.

    Its entries are [B, N] for atoms and [B, N, N] for pairs; coordinates and distributions have one more axis.
    """

    discrete = False  # whether its states are class indices; else numbers, in one more axis
    diffusion = False  # whether x0 is noise without ties to x1, so that the reverse of adding it is known
    mixes = False  # whether its states hold a second draw of the noise, which ``sample`` is then given

    def clock(self, t: float) -> float:
        """How much of what a state holds is data: the time at which a straight path would be as far."""
        return t

    @abstractmethod
    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng, fresh: Tensor | None = None) -> Tensor:
        """x_t given both ends."""

    def goal(self, x0: Tensor, x1: Tensor, t: Time, fresh: Tensor | None = None) -> Tensor:
        """The endpoint to learn: the one whose velocity is that of the way from x0 to x1, which is mostly x1."""
        return x1

    @abstractmethod
    def endpoint(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        """The network's output at (x, t) as an expected endpoint: a position, or a distribution over classes."""

    @abstractmethod
    def loss(self, pred: Tensor, x: Tensor, x1: Tensor, t: Time) -> Tensor:
        """The loss of each entry; its minimum over predictions is the conditional expectation of the endpoint."""

    @abstractmethod
    def velocity(self, end: Tensor, x: Tensor, t: Time) -> Tensor:
        """dx/dt of a continuous field; the rates of a jump process, which sum to zero over the states."""

    @abstractmethod
    def advance(self, x: Tensor, v: Tensor, t: float, s: float, rng: Rng | None) -> Tensor:
        """The state at s from the state at t with v held; at s = 1 the endpoint whose velocity v is.

        Without ``rng`` only what is deterministic moves.
        """

    @abstractmethod
    def hold(
        self, x: Tensor, end: Tensor, t: float, s: float, rng: Rng | None, fresh: Tensor | None = None, churn: float = 0
    ) -> Tensor:
        """The state at s from the state at t with the endpoint held: exact where the prediction does not change.

        ``churn`` in [0, 1] is the share of its noise that is replaced by the ``fresh`` one; 1 is ancestral sampling.
        """

    @abstractmethod
    def back(self, x: Tensor, t: float, s: float, fresh: Tensor, rng: Rng) -> Tensor:
        """A state at an earlier s from the state at t, noise added: with the law of the path at s."""


def time_at(t: Time, x: Tensor) -> Tensor:
    """A time as a tensor beside x; a number is filled in: copying it would wait for the device."""
    return t.to(x) if isinstance(t, Tensor) else torch.full((), t, dtype=x.dtype, device=x.device)


def column(t: Time, x: Tensor) -> Time:
    """Times [B] shaped to broadcast against x [B, ...]."""
    return t.reshape(-1, *[1] * (x.ndim - 1)) if isinstance(t, Tensor) and t.ndim else t


def surprise(logits: Tensor, label: Tensor) -> Tensor:
    """The cross entropy of each entry's logits with its class index, or with a law over the classes."""
    target = label.flatten(0, -2) if label.is_floating_point() else label.flatten()
    return cross_entropy(logits.flatten(0, -2), target, reduction="none").view(logits.shape[:-1])
