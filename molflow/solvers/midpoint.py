from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField


class Midpoint(Solver):
    """x_s = x_t + (s - t) u_m(x_m), with x_m an Euler step to m = (t + s) / 2; the last step is two of Euler's."""

    order = 2
    evaluations = 2

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        m = (t + s) / 2
        v = flow.velocity(x, t)
        if s >= 1:
            x = flow.advance(x, v, t, m, rng)
            return flow.advance(x, flow.velocity(x, m), m, s, rng)
        halfway = flow.advance(x, v, t, m, None)
        return flow.advance(x, flow.velocity(halfway, m, since=t), t, s, rng)
