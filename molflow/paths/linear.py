from __future__ import annotations

from molflow.paths.affine import Positions, Straight


class Linear(Straight, Positions):
    """x_t = (1 - t) x0 + t x1, so dx/dt = x1 - x0 = (x1 - x_t) / (1 - t): straight (Lipman et al. 2023).

    The regression on the velocity is the regression on the endpoint weighted by (1 - t)^-2.
    """
