from __future__ import annotations

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.multistep import Multistep
from molflow.solvers.solver import Solver, VectorField


class Confident(Solver):
    """``multistep`` whose surest labels settle first: as many as the path has at s, and noise where the others are.

    Labels drawn apart from one another in a long step do not fit together; the surest need the others least (Chang et
    al. 2022, of masks). With ``chance`` the order is loosened by Gumbel noise, which the way to the end takes back;
    ``reuse`` is multistep's. Likely labels have an edge, as at a low temperature: this is for few steps.
    """

    order = 2
    evaluations = 1
    keeps_law = False

    def __init__(self, chance: float = 1.0, reuse: float = 1.0):
        if not 0 <= chance < float("inf"):
            raise UserError(f"solver confident: chance must be 0 or more, not {chance}")
        self.chance, self.reuse = chance, reuse
        self.method = Multistep(reuse)

    def start(self) -> None:
        self.method.start()

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.commit(x, self.method.ahead(flow, x, t, s), t, s, rng, self.chance)
