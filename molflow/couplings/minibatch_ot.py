from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.couplings.align import align
from molflow.couplings.coupling import Coupling, costs
from molflow.couplings.plans import exact, sinkhorn, unbalanced
from molflow.rng import Rng


class MinibatchOT(Coupling):
    """The pairing of a minibatch's noise and molecules with the least total squared distance (Tong et al. 2024).

    Noise of another size cannot be paired, so a plan is made among molecules of equal size, at most ``group`` of them;
    ``report`` says how many had a partner. The atoms keep their rows: chain it with ``align`` to pair those too.

    - ``method: exact`` permutes the noise, so its law over the batch is kept to the letter. ``sinkhorn`` draws each
      molecule's noise from the entropic plan (``reg`` in units of the mean cost): a noise may serve twice or not at
      all, once in expectation. ``unbalanced`` is exact but for molecules too far from all noise (``penalty``), which
      keep their own; they are trained on like all others.
    - ``aligned`` takes the cost of a pair after its best permutation and rotation, what ``align`` behind it will
      leave. On QM9 that shortens the way by a seventh, where plain distances before ``align`` bring 1 %. It costs an
      alignment for each pair of a group, M for each molecule, so groups are of 32 then. Bounds that need none, from
      radii or principal moments, were measured to bring no more than plain distances. (A mean over all pairs of atoms
      would not even be a cost: of centred clouds it is the same for every pairing.)
    - ``condition`` names a property c, and pairs cost ``weight`` (c_i - c_j)^2 more, c_i being that of the molecule
      that the noise was drawn for. Without it a model that is told c learns flows from a noise that depends on c, and
      at sampling starts from one that does not. The more ``weight``, the closer is the noise given c to the prior;
      for classes a large weight makes it the prior exactly (Cheng & Schwing 2025).
    """

    def __init__(
        self,
        method: Literal["exact", "sinkhorn", "unbalanced"] = "exact",
        reg: float = 0.05,
        penalty: float = 1.0,
        aligned: bool = False,
        group: int | None = None,
        condition: str | None = None,
        weight: float = 1.0,
    ):
        group = group or (32 if aligned else 512)
        for name, value, least in (("reg", reg, 0.005), ("penalty", penalty, 0.01), ("group", group, 2)):
            if value < least:
                raise UserError(f"coupling minibatch_ot: {name} must be at least {least}, not {value}")
        if weight < 0:
            raise UserError(f"coupling minibatch_ot: weight must be 0 or more, not {weight}")
        self.plan = {"exact": exact, "sinkhorn": sinkhorn, "unbalanced": partial(unbalanced, penalty=penalty)}[method]
        self.reg, self.draws = reg, method == "sinkhorn"
        self.aligned, self.group, self.condition, self.weight = aligned, group, condition, weight
        self.lowers = not self.draws and not aligned
        self.props = (condition,) if condition else ()

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        return self.paired(x0, self.partners(x0, x1, rng)[0]), x1

    def report(self, x0: Batch, x1: Batch, rng: Rng) -> dict[str, float]:
        """Besides the cost, the share of molecules that the plan had a choice of noise for."""
        partner, matched = self.partners(x0, x1, rng)
        share = float(matched.double().mean())
        return costs(x0, x1, self.paired(x0, partner), x1) | {"share with a partner": share}

    def paired(self, x0: Batch, partner: Tensor) -> Batch:
        return x0[partner].pad_to(x0.mask.shape[1])

    def partners(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """partner[b]: which x0 goes to molecule b; matched[b]: whether there was a choice."""
        sizes = x1.sizes
        uniform = rng.uniform().cpu().numpy() if self.draws else None
        partner = torch.arange(len(x1), device=x1.device)
        matched = torch.zeros(len(x1), dtype=torch.bool, device=x1.device)
        for size in sizes.unique().tolist():
            for members in (sizes == size).nonzero().squeeze(1).split(self.group):
                if len(members) == 1:
                    continue
                cost = self.cost(x0, x1, members, size).cpu().numpy()  # [M, M]
                given = {} if uniform is None else {"uniform": uniform[members.cpu()], "reg": self.reg}
                choice, had = (torch.as_tensor(part, device=x1.device) for part in self.plan(cost, **given))
                partner[members], matched[members] = members[choice], had
        return partner, matched

    def cost(self, x0: Batch, x1: Batch, members: Tensor, size: int) -> Tensor:
        """Of noise i with molecule j, [M, M]."""
        measure = aligned_distances if self.aligned else distances
        cost = measure(x0.pos[members, :size], x1.pos[members, :size])
        if self.condition:
            c0, c1 = (self.condition_of(x)[members].double() for x in (x0, x1))
            cost = cost + self.weight * (c0[:, None] - c1[None, :]).square()
        return cost

    def condition_of(self, x: Batch) -> Tensor:
        if self.condition not in x.props or not bool(x.props[self.condition].isfinite().all()):
            raise UserError(f"coupling minibatch_ot: not every molecule has a value of {self.condition!r}")
        return x.props[self.condition]


def distances(x0: Tensor, x1: Tensor) -> Tensor:
    """|x0_i - x1_j|^2 of clouds [M, N, D], row by row; [M, M]."""
    return torch.cdist(x0.flatten(1).double(), x1.flatten(1).double()).square()


def aligned_distances(x0: Tensor, x1: Tensor) -> Tensor:
    """min over P, R of |P x0_i R^T - x1_j|^2, as one round of ``align`` finds it; [M, M]."""
    M, N, _ = x0.shape
    y0, y1 = x0.repeat_interleave(M, 0), x1.repeat(M, 1, 1)
    _, y0 = align(y0, y1, torch.ones(M * M, N, dtype=torch.bool, device=x0.device))
    return (y0 - y1).double().square().sum((1, 2)).reshape(M, M)
