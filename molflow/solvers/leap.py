from __future__ import annotations

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField


class Leap(Solver):
    """x_s = hold(x_t, D(x_t, t, s - t)) with the endpoint of a network that has learnt where a step of this span leads.

    Of first order, like ddim, for a network that is given no more than the flow; as exact as its leaps for one that
    learnt them (objective shortcut; Frans et al. 2025).
    """

    order = 1
    evaluations = 1
    leaps = True

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.hold(x, flow.endpoint(x, t, s), t, s, rng)
