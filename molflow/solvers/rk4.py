from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField, combine


class RungeKutta4(Solver):
    """x_s = x_t + (s - t) (k1 + 2 k2 + 2 k3 + k4) / 6: the classical method of order 4 (Kutta 1901).

    The last step is Heun's method of order 3, (k1 + 3 k3) / 4 with stages at 1/3 and 2/3, which never looks at the end;
    taken once, it does not harm the order where sigma falls as 1 - t. Where it falls as the root of that, as variance
    preserving paths have it, order 2 is left.
    """

    order = 4
    evaluations = 4

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        def stage(v: dict, share: float) -> dict:
            c = t + share * (s - t)
            return flow.velocity(flow.advance(x, v, t, c, None), c, since=t)

        k1 = flow.velocity(x, t)
        if s >= 1:
            k3 = stage(stage(k1, 1 / 3), 2 / 3)
            return flow.advance(x, combine([k1, k3], [1 / 4, 3 / 4]), t, s, rng)
        k2 = stage(k1, 1 / 2)
        k3 = stage(k2, 1 / 2)
        k4 = stage(k3, 1)
        return flow.advance(x, combine([k1, k2, k3, k4], [1 / 6, 1 / 3, 1 / 3, 1 / 6]), t, s, rng)
