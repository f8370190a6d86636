from __future__ import annotations

import math

from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField

Past = tuple[dict[str, float], dict[str, Tensor]]  # the clock of each field, and the endpoints predicted then


class Multistep(Solver):
    """Second order from one evaluation a step: the predicted endpoint D is taken to be linear in time, not to stand.

    Every path alpha x1 + sigma x0 is the straight one in its clock u = alpha / (alpha + sigma), on which the equation
    dx/du = (D - x) / (1 - u) is solved exactly for D(u) = D_n + (u - u_n) D', with D' from the evaluation before: that
    is to hold D_n + w D', w the mean of u - u_n over the noise's fall,

        w = (e - q ln(1 / q) (1 - u_n)) / (1 - q),   q = (1 - u_s) / (1 - u_n),   e = u_s - u_n.

    An exponential integrator, as DPM-Solver++(2M) is in log(alpha / sigma) (Lu et al. 2022). The laws of labels are
    taken ahead in the same way. ``reuse`` below 1 trusts the past less; 0 is ddim.
    """

    order = 2
    evaluations = 1

    def __init__(self, reuse: float = 1.0):
        if not 0 <= reuse <= 1:
            raise UserError(f"solver multistep: reuse must be between 0 and 1, not {reuse}")
        self.reuse = reuse
        self.past: Past | None = None

    def start(self) -> None:
        self.past = None

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.hold(x, self.ahead(flow, x, t, s), t, s, rng)

    def ahead(self, flow: VectorField, x: Batch, t: float, s: float) -> dict[str, Tensor]:
        """The endpoint to hold from t to s; it becomes the past of the next."""
        now, end = flow.clock(t), flow.endpoint(x, t)
        held = end
        if self.past is not None:
            then, before = self.past
            until = flow.clock(s)
            held = {}
            for name, value in end.items():
                since = now[name] - then[name]  # 0 where a clock has run to its end
                ahead = self.reuse * mean_ahead(now[name], until[name]) / since if since else 0.0
                held[name] = value + ahead * (value - before[name])
                if name != "pos":  # still a law
                    held[name] = held[name].clamp(min=0)
                    held[name] = held[name] / held[name].sum(-1, keepdim=True)
        self.past = now, end
        return held


def mean_ahead(u: float, s: float) -> float:
    """How far ahead of u the endpoint counts, on the average over a step to s.

    >>> mean_ahead(0.5, 1.0), round(mean_ahead(0.5, 0.5001), 6)  # all the way at the end, half of a short step
    (0.5, 5e-05)
    """
    if s >= 1:
        return 1 - u
    q = (1 - s) / (1 - u)
    return (s - u - (1 - s) * math.log(1 / q)) / (1 - q)
