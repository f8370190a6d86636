"""What a solver is, and what it asks of a flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from molflow.batch import Batch
from molflow.rng import Rng


class VectorField(Protocol):
    def velocity(self, x: Batch, t: float) -> dict[str, Tensor]: ...

    def advance(self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None) -> Batch: ...


class Solver(ABC):
    """One step of a numerical method.

    An endpoint's velocity (x1 - x) / (1 - t) has no value at t = 1, so a step that ends there ends with a plain Euler
    step: on a predicted endpoint. The order is unharmed, since that step is taken once.
    """

    order: int
    evaluations: int  # a step

    @abstractmethod
    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        """The state at s from the state at t."""
