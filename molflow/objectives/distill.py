"""A student that needs few steps: it learns where its teacher would end from where it stands itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.composition import Composition, grouped
from molflow.couplings.coupling import Coupling
from molflow.flow import Flow
from molflow.generate import Model
from molflow.objectives.objective import Objective
from molflow.paths.joint import Joint
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import GRIDS, LEARNED, grid, rest
from molflow.times.times import Times

LEAST = 3  # steps of the teacher, however near the end


class Distill(Objective):
    """L = E over n in ``steps``, k < n of sum_f w_f loss_f(student(x_k, t_k), teacher's end from x_k).

    x_k is the state after k of n steps of the student, taken as it samples; from there the teacher goes to the end in
    fine steps and almost without chance (``temperature``, ``haste``), so that what the student shall say is a function
    of what it sees: a molecule, not the mean of several. ``fine`` counts the teacher's steps over the whole way,
    of ``solver``: ``multistep`` for a flow, ``euler`` for a teacher that is a student itself.
    Molecules of the data lend their sizes, and their formulas where the student samples with a ``composition``. Where
    it samples with ``valences``, both draw their labels together.
    """

    def __init__(
        self,
        prior: Product,
        coupling: Coupling,
        path: Joint,
        times: Times,
        weights: Mapping[str, float],
        sample: Sampling,
        teacher: Model | None,
        hint: float = 0.5,
        centred: bool = True,
        census: Mapping[str, int] | None = None,
        steps: Sequence[int] = (2, 4, 8),
        fine: int = 10,
        temperature: float = 0.05,
        haste: float = 20.0,
        solver: str | dict[str, Any] = "multistep",
    ):
        super().__init__(prior, coupling, path, times, weights, hint, centred, census)
        if teacher is None:
            raise UserError("objective distill learns from a model: give train.teacher, or use molflow distill")
        if not steps or min(steps) < 1 or fine < 1:
            raise UserError(f"objective distill: steps and fine are at least 1, not {list(steps)} and {fine}")
        if sample.grid == LEARNED:
            raise UserError(f"objective distill: a student has no learned grid yet; sample.grid is {', '.join(GRIDS)}")
        self.teacher, self.sampling = teacher, sample
        self.steps, self.fine, self.temperature, self.haste = list(steps), fine, temperature, haste
        onward = Sampling(solver=solver)
        teacher.check(onward)
        self.method = onward.method()
        self.groups = grouped(teacher.vocabulary)[1] if sample.composition else None
        self.together = teacher.drawing(sample)

    def each(self, network, x1: Batch, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        x0, x1 = self.pair(x1, rng)
        steer = None if self.groups is None else Composition.of(x1, self.groups, self.sampling.composition)
        x, t, hint = self.stand(network, x0, rng, steer)
        end = self.teach(x, t, hint, rng, steer)
        times = x.pos.new_full((len(x),), t)
        return times, self.losses(network(x, times, hint=hint), x, end, times, end)

    def ways(self) -> Iterator[float]:
        """One alone: a student that is taught with hints has one at every step but its first."""
        yield 1.0

    def stand(
        self, network, x0: Batch, rng: Rng, steer: Composition | None = None
    ) -> tuple[Batch, float, Mapping[str, Tensor] | None]:
        """Where the student is after some of its steps, when that is, and what it last predicted."""
        n = self.steps[int(rng.scalar() * len(self.steps))]
        first = 1 if n > 2 and min(self.steps) <= 2 else 0  # the first of many tells the rough shape: few teach it
        k = first + int(rng.scalar() * (n - first))
        times = grid(self.sampling.grid, n)[: k + 1]
        how = self.sampling
        flow = Flow(network, self.path, self.prior, how.temperature, how.haste, steer, self.hinted, self.together)
        return integrate(flow, x0, times, how.method(), rng), times[-1], flow.hint

    @torch.no_grad()
    def teach(
        self, x: Batch, t: float, hint: Mapping[str, Tensor] | None, rng: Rng, steer: Composition | None = None
    ) -> Batch:
        """The teacher's end of the way from here, in steps that shorten towards it."""
        if self.teacher.device != x.device:
            self.teacher.to(x.device)
        n = max(LEAST, math.ceil(self.fine * math.sqrt(1 - t)))
        flow = self.teacher.flow(self.temperature, self.haste, steer, self.together)
        if hint is not None and self.teacher.hinted:
            flow.hint = dict(hint)
        return integrate(flow, x, rest("quadratic", n, t), self.method, rng)
