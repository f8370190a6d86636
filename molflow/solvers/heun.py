from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField, combine


class Heun(Solver):
    """x_s = x_t + (s - t) (u_t(x_t) + u_s(x_s')) / 2, with x_s' an Euler step: the trapezium rule.

    The last step, whose end has no velocity, is Euler's; taken once, it does not harm the order.
    """

    order = 2
    evaluations = 2

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        v = flow.velocity(x, t)
        if s >= 1:
            return flow.advance(x, v, t, s, rng)
        after = flow.velocity(flow.advance(x, v, t, s, None), s, since=t)
        return flow.advance(x, combine([v, after], [0.5, 0.5]), t, s, rng)
