"""How molecules are drawn: what a model does by default, and what a command line changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from molflow.build import UserError, build, unknown
from molflow.solvers import SOLVERS
from molflow.solvers.schedule import GRIDS, LEARNED

if TYPE_CHECKING:
    from molflow.solvers.solver import Solver  # for its name alone: a command starts workers before it imports torch

PRECISIONS = ("fp32", "bf16")
MOST = 1_000_000  # steps: a thousand times what any solver gains by


def shard_size(n: int, on_cpu: bool) -> int:
    """Of ``n`` molecules, those of one part of the work: fewer occupy more processors, more compute faster."""
    if not on_cpu:
        return 500  # these are only written apart, and computed together
    return 250 if n > 500 else 100


@dataclass(frozen=True)
class Sampling:
    """How molecules are drawn: the number of steps, where they lie, and the method of each."""

    steps: int = 50
    grid: str = "quadratic"
    solver: str | dict[str, Any] = "euler"  # a name, or {name: ..., keyword: ...}
    temperature: float = 1.0  # of the labels' predicted laws
    haste: float = 1.0  # how often labels jump, for each time that their path has them jump
    composition: float = 0.0  # how strongly atoms are turned towards formulas of the training set; 0: not at all
    valences: float = 0.0  # how strongly labels are drawn such that the bonds of each atom fill its valence; 0: apart
    precision: str = "fp32"  # of the network's matrix products of features

    def __post_init__(self):
        if not isinstance(self.steps, Integral):
            raise UserError(f"steps must be a whole number, not {self.steps!r}")
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, not {self.steps}")
        if self.steps > MOST:
            raise UserError(f"steps must be at most {MOST:,}, not {self.steps:,}")
        if self.grid not in GRIDS and self.grid != LEARNED:
            raise unknown("time grid", self.grid, [*GRIDS, LEARNED])
        for name in ("temperature", "haste"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("composition", "valences"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        self.method()

    def method(self) -> Solver:
        return build("solver", SOLVERS, self.solver)

    def updated(self, **changes: Any) -> Sampling:
        """With the changes that are not None."""
        return dataclasses.replace(self, **{key: value for key, value in changes.items() if value is not None})

    def spending(self, evaluations: int) -> Sampling:
        """With as many steps as so many evaluations of the network pay for.

        >>> Sampling(solver="midpoint").spending(21).steps
        10
        """
        each = self.method().evaluations
        if each is None:
            raise UserError(f"solver {self.solver} takes as many evaluations as its tolerance needs; set rtol and atol")
        if evaluations < each:
            raise UserError(f"a step of {self.solver} takes {each} evaluations, and {evaluations} were given")
        return self.updated(steps=evaluations // each)
