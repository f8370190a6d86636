from __future__ import annotations

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.multistep import Multistep
from molflow.solvers.solver import Solver, VectorField


class Corrector(Solver):
    """Labels first, then a step: some return to noise, to 1 - t' = (1 + amount) (1 - t), and are drawn again.

    Labels of one step are drawn apart from one another; here each is drawn anew from what the network says of the
    others as they have become, at a time that stands still, which keeps the path's law (Campbell et al. 2022) as far as
    few are drawn at once: the more, the more it favours likely combinations, however many the steps.
    Coordinates keep their noise, so it harms no pairing. The step itself is ``multistep``'s, from a second evaluation.
    """

    order = 2
    evaluations = 2

    def __init__(self, amount: float = 0.5):
        if not 0 < amount < float("inf"):
            raise UserError(f"solver corrector: amount must be above 0, not {amount}")
        self.amount = amount
        self.method = Multistep()

    def start(self) -> None:
        self.method.start()

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        if t > 0:  # where all is noise, none of it is wrong
            end = flow.endpoint(x, t)
            if rng is not None:
                x = flow.renew(x, end, t, max(0.0, 1 - (1 + self.amount) * (1 - t)), rng)
        return self.method.step(flow, x, t, s, rng)
