from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molflow.build import UserError
from molflow.rng import Rng
from molflow.times.times import Times
from molflow.times.uniform import Uniform


class Importance(Times):
    """p(t) = (1 - floor) L(t) / int L + floor, with L(t) the running mean of the loss about t (Nichol & Dhariwal 2021).

    The mean is kept in ``bins`` of equal width, each losing the share 1 - ``decay`` of its past with every molecule
    that falls into it; ``floor`` is the uniform share that keeps any time from starving. With ``unbiased`` a loss at t
    counts 1 / p(t): training descends the same objective as with uniform times, and only the spread of its gradient
    changes. Without, the times of high loss are learnt more. Each process of data-parallel training learns its own p.
    """

    def __init__(self, bins: int = 32, decay: float = 0.995, floor: float = 0.2, unbiased: bool = True):
        for name, value, holds, what in (
            ("bins", bins, bins >= 1, "at least 1"),
            ("decay", decay, 0 < decay < 1, "between 0 and 1"),
            ("floor", floor, 0 < floor <= 1, "above 0 and at most 1"),
        ):
            if not holds:
                raise UserError(f"times importance: {name} must be {what}, not {value}")
        self.bins, self.decay, self.floor, self.unbiased = bins, decay, floor, unbiased
        self.sums = torch.zeros(bins, dtype=torch.float64)  # of losses, older ones counting less
        self.counts = torch.zeros(bins, dtype=torch.float64)  # of what those losses count; 1 in the end

    def shares(self) -> Tensor:
        """The probability of each bin, [K]."""
        seen = self.counts > 0
        mean = self.sums / self.counts.clamp(min=1e-300)
        typical = (mean * seen).sum() / seen.sum().clamp(min=1)
        mean = torch.where(seen, mean, typical)  # what has not been seen is taken to be like the rest
        total = mean.sum()
        share = torch.where(total > 0, mean / total.clamp(min=1e-300), 1 / self.bins)
        return (1 - self.floor) * share + self.floor / self.bins

    def __call__(self, rng: Rng) -> Tensor:
        u = rng.uniform().double()
        share = self.shares().to(u.device)
        edges = share.cumsum(0) / share.sum()  # [K], the upper ones
        k = torch.searchsorted(edges, u).clamp(max=self.bins - 1)
        within = 1 - (edges[k] - u) * share.sum() / share[k]
        return ((k + within.clamp(0, 1)) / self.bins).float().clamp(2.0**-24, 1 - 2.0**-24)

    def weight(self, t: Tensor) -> Tensor:
        if not self.unbiased:
            return torch.ones_like(t)
        density = self.shares().to(t.device)[self.bin(t)] * self.bins
        return density.reciprocal().to(t.dtype)

    def yardstick(self) -> Times:
        return Uniform()

    def learn(self, t: Tensor, loss: Tensor) -> None:
        self.sums, self.counts = self.sums.to(loss.device), self.counts.to(loss.device)
        loss = loss.detach().double()
        good = loss.isfinite()
        member = one_hot(self.bin(t), self.bins).double() * good[:, None]  # [B, K]; a product adds in a fixed order
        n = member.sum(0)
        mean = loss.nan_to_num(0, 0, 0) @ member / n.clamp(min=1)
        kept = self.decay**n
        self.sums = kept * self.sums + (1 - kept) * mean
        self.counts = kept * self.counts + (1 - kept)

    def bin(self, t: Tensor) -> Tensor:
        return (t * self.bins).long().clamp(0, self.bins - 1)

    def state(self) -> dict[str, Tensor]:
        return {"sums": self.sums.cpu(), "counts": self.counts.cpu()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if state:
            self.sums, self.counts = state["sums"].clone(), state["counts"].clone()
