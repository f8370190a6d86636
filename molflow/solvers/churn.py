from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.ddim import DDIM
from molflow.solvers.heun import Heun
from molflow.solvers.solver import Solver, VectorField, need_normal_noise

if TYPE_CHECKING:
    from molflow.paths.joint import Joint
    from molflow.priors.prior import Product


class Churn(Solver):
    """Back in time with fresh noise, to 1 - t' = (1 + amount) (1 - t), then a step from there (Karras et al. 2022).

    The noise that a mistake sits in is thrown away, in coordinates and in labels, which makes it the corrector of both:
    Langevin's where the amount is small. ``step`` is ``ddim`` (one evaluation) or ``heun`` (two). The way back is the
    same share of what is left however short a step is, so what a step of ``ddim`` errs by does not vanish with their
    number, as it does by ``heun``; and labels renewed together, each from its own law, favour what is likely. Where a
    coupling pairs noise with data, fresh noise is less well paired than the path's: small amounts do little harm.
    """

    def __init__(self, amount: float = 0.2, step: Literal["ddim", "heun"] = "ddim"):
        if not 0 <= amount <= 1:
            raise UserError(f"solver churn: amount must be between 0 and 1, not {amount}")
        self.amount = amount
        self.method = DDIM() if step == "ddim" else Heun()
        self.evaluations = self.method.evaluations

    def fits(self, path: Joint, prior: Product | None) -> None:
        need_normal_noise("churn", path, prior)

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        earlier = 1 - (1 + self.amount) * (1 - t)
        if self.amount and earlier > 0 and rng is not None:
            x, t = flow.back(x, t, earlier, rng), earlier
        return self.method.step(flow, x, t, s, rng)
