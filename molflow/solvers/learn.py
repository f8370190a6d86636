"""The best times for n steps, learned from how a model's own prediction changes on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.multistep import Multistep, mean_ahead
from molflow.solvers.solver import VectorField


class Recorded:
    """A flow that keeps the positions it predicts."""

    def __init__(self, flow: VectorField):
        self.flow = flow
        self.ends: list[Tensor] = []

    def __getattr__(self, name: str):
        return getattr(self.flow, name)

    def endpoint(self, x: Batch, t: float, until: float | None = None) -> dict[str, Tensor]:
        end = self.flow.endpoint(x, t, until)
        self.ends.append(end["pos"] * x.mask.unsqueeze(-1))
        return end


def changes(flow: VectorField, x: Batch, times: Sequence[float], rng: Rng) -> np.ndarray:
    """Along fine steps the inner products of (D_i - D_last), D the predicted positions; summed over atoms, [n, n]."""
    recorded, solver = Recorded(flow), Multistep()
    for t, s in pairwise(times):
        x = solver.step(recorded, x, t, s, rng)  # type: ignore[arg-type]
    ends = np.stack([end.cpu().double().numpy().ravel() for end in recorded.ends])
    ends -= ends[-1]
    return ends @ ends.T


def best_grid(
    clock: Sequence[float], gram: np.ndarray, steps: int, reuse: float = 1.0, floor: float = 0.1
) -> list[int]:
    """Which of the fine times to step on, so that the squared errors of ``steps`` steps add up to least.

    A step from u to s takes the mean of D over the noise's fall, which the fine steps know, for D extrapolated from
    its first point and the one before (``reuse`` = 0: for D at its first point). Its error is a sum of D_i with known
    factors, so the inner products of ``changes`` are all that is needed; the best of all grids is found exactly, by
    dynamic programming over (last step but one, last step).
    """
    u, n = np.asarray(clock), len(gram)
    if not 1 <= steps <= n:
        raise UserError(f"a learned grid has between 1 and {n} steps, not {steps}")
    ratio = np.append(u[:-1] / (1 - u[:-1]), np.inf)
    worth = 1 / (1 - np.append(u[:n], 1.0) + floor) ** 2
    error = np.full((n, n, n + 1), np.inf)  # [the time before, from, to]
    alone = np.full((n, n + 1), np.inf)  # of a step without a past
    for i in range(n):
        for j in range(i + 1, n + 1):
            weights = np.zeros(n)  # of each D in the mean over the step
            if j == n:
                weights[-1], fall = 1.0, 1.0
            else:
                share = np.diff(ratio[i : j + 1]) / (ratio[j] - ratio[i])
                weights[i:j] += share / 2
                weights[i + 1 : j + 1] += share / 2
                fall = 1 - (1 - u[j]) / (1 - u[i])
            weights[i] -= 1
            along = gram @ weights
            scale = fall**2 * worth[j]
            alone[i, j] = scale * weights @ along
            if i:
                ahead = reuse * mean_ahead(u[i], u[j]) / (u[i] - u[:i])
                gained = gram[i, i] - 2 * gram[i, :i] + gram.diagonal()[:i]
                error[:i, i, j] = alone[i, j] + scale * (ahead**2 * gained - 2 * ahead * (along[i] - along[:i]))
    least, came = np.full((n, n + 1), np.inf), []
    least[0] = alone[0]
    for _ in range(steps - 1):
        total = least[:, :n, None] + error
        came.append(total.argmin(0))
        least = total.min(0)
    j = n
    i = int(least[:, n].argmin())
    picked = [n, i]
    for back in reversed(came):
        i, j = int(back[i, j]), i
        picked.append(i)
    return picked[::-1]


def learned(clock: Mapping[float, float], gram: np.ndarray, steps: int, reuse: float = 1.0) -> list[float]:
    """The times of the best grid; ``clock`` maps the fine times, 1 included, to the path's."""
    times = list(clock)
    return [times[i] for i in best_grid(list(clock.values()), gram, steps, reuse)]
