"""What a solver is, and what it asks of a flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng

if TYPE_CHECKING:
    from molflow.paths.joint import Joint
    from molflow.priors.prior import Product


class VectorField(Protocol):
    """An evaluation is a call of ``velocity`` or of ``endpoint``; the others move what was found."""

    def velocity(self, x: Batch, t: float, since: float | None = None) -> dict[str, Tensor]: ...

    def advance(self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None) -> Batch: ...

    def endpoint(self, x: Batch, t: float, until: float | None = None) -> dict[str, Tensor]: ...

    def hold(
        self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng | None, churn: float = 0.0
    ) -> Batch: ...

    def commit(
        self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng | None, chance: float
    ) -> Batch: ...

    def back(self, x: Batch, t: float, s: float, rng: Rng) -> Batch: ...

    def renew(self, x: Batch, end: Mapping[str, Tensor], t: float, s: float, rng: Rng) -> Batch: ...

    def clock(self, t: float) -> dict[str, float]: ...


class Solver(ABC):
    """One step of a numerical method.

    An endpoint's velocity (x1 - x) / (1 - t) has no value at t = 1, so a step that ends there looks no further than
    just before it, and lands on a prediction.
    """

    order: int | None = None  # of the error in the step; None: of a stochastic method, which has no path to follow
    evaluations: int | None = None  # a step; None: as many as the tolerance needs
    keeps_law = True  # whether labels have the path's law in the limit of many steps
    unpaired = False  # whether noise must be independent of the data for its steps to be right
    leaps = False  # whether it asks how far a step of some span leads, which a network must have learnt

    def start(self) -> None:  # noqa: B027, most have no past
        """Forget the past: a run begins."""

    def fits(self, path: Joint, prior: Product | None) -> None:  # noqa: B027, most go anywhere
        """A UserError where this method on this path would go wrong without a word."""

    @abstractmethod
    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        """The state at s from the state at t."""


def combine(velocities: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The weighted sum, field by field."""
    terms = [(v, w) for v, w in zip(velocities, weights) if w]
    return {name: sum(w * v[name] for v, w in terms) for name in terms[0][0]}  # type: ignore[misc]


def need_normal_noise(solver: str, path: Joint, prior: Product | None) -> None:
    """Where fresh noise is added to old, the sum must be the path's noise: so both must be normal."""
    for one in prior.priors if prior else ():
        if not (path.paths[one.field].discrete or one.normal):
            raise UserError(
                f"solver {solver} adds fresh noise to the old, which keeps the law of {one.field} only where the prior "
                f"is gaussian, and it is {type(one).__name__.lower()}; take a solver without noise, such as ddim or "
                "multistep"
            )
