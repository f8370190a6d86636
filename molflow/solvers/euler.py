from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField


class Euler(Solver):
    """x_s = x_t + (s - t) u_t(x_t): exact where paths are straight."""

    order = 1
    evaluations = 1

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.advance(x, flow.velocity(x, t), t, s, rng)
