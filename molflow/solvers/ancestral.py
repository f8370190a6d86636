from __future__ import annotations

from typing import TYPE_CHECKING

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField, need_normal_noise

if TYPE_CHECKING:
    from molflow.paths.joint import Joint
    from molflow.priors.prior import Product


class Ancestral(Solver):
    """x_s ~ q(x_s | x_t, x1_hat), a step back along the noising process: DDPM's sampling (Ho et al. 2020)."""

    evaluations = 1
    unpaired = True

    def fits(self, path: Joint, prior: Product | None) -> None:
        for name, one in path.paths.items():
            if not (one.discrete or one.diffusion):
                raise UserError(
                    f"solver ancestral steps back along a diffusion, and path.{name} "
                    f"{type(one).__name__.lower()} is none: its noise may be paired with the data, so the law of a "
                    "step back is not known; take ddim, or churn for fresh noise, or a variance_preserving or "
                    "variance_exploding path"
                )
        need_normal_noise("ancestral", path, prior)

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        return flow.hold(x, flow.endpoint(x, t), t, s, rng, churn=1.0)
