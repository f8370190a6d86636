from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField


class DDIM(Solver):
    """x_s = alpha_s x1_hat + sigma_s x0_hat, with both ends as seen from x_t (Song et al. 2021).

    Exact where the predicted endpoint does not change, on whatever path: a curve costs nothing. On the linear path it
    is Euler's method.
    """

    order = 1
    evaluations = 1

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.hold(x, flow.endpoint(x, t), t, s, rng)
