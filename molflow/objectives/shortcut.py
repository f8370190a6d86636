"""A network that leaps: one step of any span, consistent with two of half the span."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.couplings.coupling import Coupling
from molflow.flow import Flow
from molflow.objectives.objective import Objective
from molflow.paths.joint import Joint
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.solvers.schedule import GRIDS, grid
from molflow.times.times import Times


class Shortcut(Objective):
    """Matching, and in a ``share`` of the steps D(x_t, t, s - t) <- merge(D(x_t, t, m - t), D(x_m, m, s - m)).

    Two held endpoints are one, their weighted mean (``merge``), for coordinates and for the laws of labels alike; so a
    leap is taught by two of half its length, the shortest of which, of 1 in ``finest``, are plain steps of the flow
    (Frans et al. 2025). Leaps lie on the grids that samples are drawn on.
    """

    leaps = True

    def __init__(
        self,
        prior: Product,
        coupling: Coupling,
        path: Joint,
        times: Times,
        weights: Mapping[str, float],
        sample: Sampling,
        hint: float = 0.5,
        centred: bool = True,
        census: Mapping[str, int] | None = None,
        share: float = 0.25,
        finest: int = 32,
    ):
        super().__init__(prior, coupling, path, times, weights, hint, centred, census)
        if not 0 <= share <= 1:
            raise UserError(f"objective shortcut: share must be between 0 and 1, not {share}")
        if finest < 2 or finest & (finest - 1):
            raise UserError(f"objective shortcut: finest must be a power of two from 2 on, not {finest}")
        self.share, self.finest = share, finest
        self.grid = sample.grid if sample.grid in GRIDS else "quadratic"

    def each(self, network, x1: Batch, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
        x0, x1 = self.pair(x1, rng)
        if rng.scalar() >= self.share:
            return self.match(network, x0, x1, rng)
        t, m, s, plain = self.leap(rng)
        x = self.path.sample(x0, x1, x1.pos.new_full((len(x1),), t), rng, self.fresh(x1, rng))
        flow = Flow(network, self.path, self.prior, hinted=self.hinted)
        if rng.scalar() < self.hint:
            flow.endpoint(x, t)
        hint = flow.hint
        first = flow.endpoint(x, t, None if plain else m)
        then = flow.endpoint(flow.hold(x, first, t, m, rng), m, None if plain else s)
        target = x1.replace(**merge(self.path, first, then, t, m, s))
        times = x.pos.new_full((len(x),), t)
        pred = network(x, times, hint=hint, span=torch.full_like(times, s - t))
        return times, self.losses(pred, x, target, times, target)

    def leap(self, rng: Rng) -> tuple[float, float, float, bool]:
        """A step of a grid, its middle, and whether its halves are the shortest."""
        levels = self.finest.bit_length() - 1
        halves = 2 << int(rng.scalar() * levels)  # 2, 4, ..., finest
        i = 2 * int(rng.scalar() * (halves // 2))
        t, m, s = grid(self.grid, halves)[i : i + 3]
        return t, m, s, halves == self.finest


def share(u: float, s: float) -> float:
    """Of what is left at u, what is gone at s: all of it where nothing is left."""
    return (s - u) / (1 - u) if u < 1 else 1.0


def merge(
    path: Joint, first: Mapping[str, Tensor], then: Mapping[str, Tensor], t: float, m: float, s: float
) -> dict[str, Tensor]:
    """The endpoint that, held from t to s, does what ``first`` held until m and ``then`` held on do.

    In a path's clock u a held endpoint takes the share j = (u_s - u_t) / (1 - u_t) of what is left of the noise, or of
    the labels, so that the mean has the weights j_1 (1 - j_2) and j_2.
    """
    now, middle, end = path.clock(t), path.clock(m), path.clock(s)
    merged = {}
    for name in first:
        one = share(now[name], middle[name])
        two = share(middle[name], end[name])
        merged[name] = (one * (1 - two) * first[name] + two * then[name]) / (one + two - one * two)
    return merged
