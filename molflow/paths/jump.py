from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from molflow.build import UserError
from molflow.paths.path import Path, Time, column, surprise
from molflow.rng import Rng


class Jump(Path):
    """x_t = x1 with probability k(t) = 1 - (1 - t)^lead, else x0: each label jumps once.

    At ``lead`` 1 that is at a uniform time; above it sooner: labels are then known while coordinates are still noise.
    Its rates are u(y | x) = lead (p(y) - [y = x]) / (1 - t), p the predicted law of the endpoint, whatever law x0 has:
    uniform noise and masks differ in their prior alone (Campbell et al. 2024; Gat et al. 2024). A step leaps over the
    time between, all labels at once. ``states`` counts the classes and, with masks, the hidden state.
    """

    discrete = True

    def __init__(self, states: int, lead: float = 1.0):
        if not 0 < lead < float("inf"):
            raise UserError(f"path jump: lead must be above 0, not {lead}")
        self.states, self.lead = states, lead

    def share(self, t: Time, s: Time = 0.0) -> Time:
        """Of the labels that have not jumped at s, those that have at t."""
        return (t - s) / (1 - s) if self.lead == 1 else 1 - ((1 - t) / (1 - s)) ** self.lead

    def clock(self, t: float) -> float:
        return float(self.share(t))

    def sample(self, x0: Tensor, x1: Tensor, t: Time, rng: Rng, fresh: Tensor | None = None) -> Tensor:
        return torch.where(rng.uniform(*x1.shape[1:]) < column(self.share(t), x1), x1, x0)

    def endpoint(self, pred: Tensor, x: Tensor, t: Time) -> Tensor:
        return pred.softmax(-1)

    def loss(self, pred: Tensor, x: Tensor, x1: Tensor, t: Time) -> Tensor:
        return surprise(pred, x1)

    def velocity(self, end: Tensor, x: Tensor, t: Time) -> Tensor:
        p = pad(end, (0, self.states - end.shape[-1]))
        return self.lead * (p - one_hot(x, self.states)) / (1 - column(t, p))

    def law(self, v: Tensor, x: Tensor, t: Time) -> Tensor:
        """The predicted law whose rates at t are v; of a step's stages, their mean."""
        return (v * (1 - column(t, v)) / self.lead + one_hot(x, self.states)).clamp(min=0)

    def advance(self, x: Tensor, v: Tensor, t: float, s: float, rng: Rng | None) -> Tensor:
        if rng is None:
            return x
        span = s - t if self.lead == 1 else self.share(s, t) * (1 - t) / self.lead  # at v's rates, as many jump in it
        p = (one_hot(x, self.states) + span * v).clamp(min=0)
        return draw(p, rng) if s < 1 else p.argmax(-1)  # the end: what is likeliest, no more chance

    def hold(
        self, x: Tensor, end: Tensor, t: float, s: float, rng: Rng | None, fresh: Tensor | None = None, churn: float = 0
    ) -> Tensor:
        return self.advance(x, self.velocity(end, x, t), t, s, rng)  # which is exact: share(s, t) of them jump

    def back(self, x: Tensor, t: float, s: float, fresh: Tensor, rng: Rng) -> Tensor:
        return torch.where(rng.uniform(*x.shape[1:]) * self.share(t) < self.share(s), x, fresh)

    def commit(
        self,
        end: Tensor,
        s: float,
        rng: Rng,
        fresh: Tensor,
        there: Tensor,
        chance: float,
        label: Tensor | None = None,
    ) -> Tensor:
        """The state at s with the share k(s) of a molecule's labels drawn, those that are surest, and noise elsewhere.

        Of the entries that are ``there``; log p of what was drawn, a ``label`` if that was done already, is what is
        sure of it, with (1 - k) ``chance`` times Gumbel noise: without, an order; with ever more, a share taken at
        random, as the path has it.
        """
        if s >= 1:
            return end.argmax(-1) if label is None else label
        share, drawn = self.clock(s), draw(end, rng) if label is None else label
        sure = end.gather(-1, drawn.unsqueeze(-1)).squeeze(-1).clamp(min=1e-12).log()
        gumbel = -(-rng.uniform(*drawn.shape[1:]).log()).log()
        sure = (sure + chance * (1 - share) * gumbel).masked_fill(~there, -torch.inf).flatten(1)
        place = sure.argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(drawn.shape)  # 0: the surest
        count = there.flatten(1).sum(1).view(-1, *[1] * (drawn.ndim - 1))
        return torch.where(place < (share * count).round(), drawn, fresh)


def draw(p: Tensor, rng: Rng) -> Tensor:
    """A class of each entry, with chances in proportion to p [..., K]."""
    cumulative = p.cumsum(-1)
    u = rng.uniform(*p.shape[1:-1]).unsqueeze(-1) * cumulative[..., -1:]
    return (u > cumulative).sum(-1).clamp(max=p.shape[-1] - 1)
