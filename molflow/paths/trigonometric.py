from __future__ import annotations

import math

from torch import Tensor

from molflow.paths.affine import Positions


class Trigonometric(Positions):
    """x_t = sin(pi t / 2) x1 + cos(pi t / 2) x0: an arc of constant variance (Albergo & Vanden-Eijnden 2023)."""

    def alpha(self, t: Tensor) -> Tensor:
        return (t * (math.pi / 2)).sin()

    def sigma(self, t: Tensor) -> Tensor:
        return ((1 - t) * (math.pi / 2)).sin()  # cos(pi t / 2), exactly 0 at t = 1
