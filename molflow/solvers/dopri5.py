from __future__ import annotations

import math

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField, combine

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
TABLEAU = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # the result; its velocity is the next step's first
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # against order 4
LANDING = 1e-3  # of the time, from which the predicted endpoint is taken: an error of some sigma^2, of any tolerance


class DormandPrince5(Solver):
    """Order 5 with an error estimate of order 4, which sets the steps (Dormand & Prince 1980).

    Steps are as long as lets every molecule of the batch err by at most ``atol + rtol |x|`` (root mean square over its
    coordinates), and end at the times of the grid: a grid of one step leaves them free. Labels wait during the trial
    stages and leap with each step that is accepted, so how often they are drawn depends on the batch. The number of
    evaluations is known afterwards (``flow.evaluations``); ``most`` bounds it.
    """

    order = 5

    def __init__(self, rtol: float = 1e-3, atol: float = 1e-3, most: int = 2000):
        if rtol <= 0 or atol <= 0 or most < 8:
            raise UserError(f"solver dopri5: rtol and atol above 0 and most at least 8, not {rtol}, {atol} and {most}")
        self.rtol, self.atol, self.most = rtol, atol, most
        self.start()

    def start(self) -> None:
        self.spent, self.length = 0, math.inf

    def step(self, flow: VectorField, x: Batch, t: float, s: float, rng: Rng | None) -> Batch:
        end = min(s, 1 - LANDING) if s >= 1 else s
        slope = None
        while end != t and (end - t) * (s - t) > 0:
            length = min(self.length, abs(end - t))
            r = end if length == abs(end - t) else t + math.copysign(length, s - t)
            slope = slope or self.velocity(flow, x, t, t)
            tried, slopes, error = self.trial(flow, x, slope, t, r)
            self.length = abs(r - t) * growth(error)
            if not error <= 1:  # nor if it is no number
                continue
            if rng is not None and any(not getattr(x, name).is_floating_point() for name in slope):
                x, slope = flow.advance(x, combine(slopes, TABLEAU[-1]), t, r, rng), None  # labels have leapt
            else:
                x, slope = tried, slopes[-1]
            t = r
        return x if t == s else flow.advance(x, slope or self.velocity(flow, x, t, t), t, s, rng)

    def trial(
        self, flow: VectorField, x: Batch, slope: dict[str, Tensor], t: float, s: float
    ) -> tuple[Batch, list[dict[str, Tensor]], float]:
        """The state at s without chance, the velocities on the way, and the worst molecule's error by the tolerance."""
        slopes = [slope]
        tried = x
        for node, row in zip(NODES, TABLEAU):
            c = s if node == 1 else t + node * (s - t)
            # ``advance`` is linear in v, from t: the state at c is x + (s - t) sum of a_j k_j
            tried = flow.advance(x, combine(slopes, [a / node for a in row]), t, c, None)
            slopes.append(self.velocity(flow, tried, c, t))
        off = (s - t) * combine([{"pos": v["pos"]} for v in slopes], ERROR)["pos"]
        scale = self.atol + self.rtol * torch.maximum(x.pos.abs(), tried.pos.abs())
        each = torch.where(x.mask.unsqueeze(-1), off / scale, 0).square().flatten(1).sum(1)
        each = each / (x.sizes * x.pos.shape[-1]).clamp(min=1)
        return tried, slopes, float(each.max().sqrt()) if len(x) else 0.0

    def velocity(self, flow: VectorField, x: Batch, t: float, since: float) -> dict[str, Tensor]:
        self.spent += 1
        if self.spent > self.most:
            raise UserError(
                f"solver dopri5 has spent {self.most} evaluations and is at time {t:.4f}: give it a larger rtol and "
                f"atol (now {self.rtol:g} and {self.atol:g}), a larger most, or take multistep, whose steps are fixed"
            )
        return flow.velocity(x, t, since)


def growth(error: float) -> float:
    """By what the next step differs from this one, whose error was this share of the tolerance."""
    return min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2)) if error < math.inf else 0.2
