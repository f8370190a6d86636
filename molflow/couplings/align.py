from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.couplings.coupling import Coupling, costs, transport_cost
from molflow.geometry import kabsch, rotate
from molflow.rng import Rng

_AT_REST = 50  # rounds that no molecule has been seen to need


class Align(Coupling):
    """min over permutations P and rotations R of |x1 - P x0 R^T|^2, molecule by molecule (Klein et al. 2023).

    The atoms of the noise are interchangeable and it has no orientation, so either move leaves its law alone. The
    permutation is exact (Jonker-Volgenant), the rotation Kabsch's. ``rounds`` bounds how often the two alternate: a
    molecule stops when a round no longer changes its permutation, for then its cost has stopped falling, which QM9's
    do after three or four. ``report`` says what that would bring, ``benchmarks/couplings.py`` what it takes.
    """

    alone = True

    def __init__(self, permute: bool = True, rotate: bool = True, rounds: int = 1):
        if rounds < 1:
            raise UserError(f"coupling align: rounds must be at least 1, not {rounds}")
        self.permute, self.rotate, self.rounds = permute, rotate, rounds
        self.turns = rotate

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        return self.alternate(x0, x1, self.rounds), x1

    def alternate(self, x0: Batch, x1: Batch, rounds: int) -> Batch:
        """x0 after so many rounds, or fewer where the cost no longer falls."""
        order, pos = align(x0.pos, x1.pos, x1.mask, self.permute, self.rotate, rounds)
        return x0.permute(order).replace(pos=pos)

    def report(self, x0: Batch, x1: Batch, rng: Rng) -> dict[str, float]:
        """Besides the cost before and after, that of alternating until it stops falling."""
        rest = self.alternate(x0, x1, _AT_REST)
        return costs(x0, x1, *self(x0, x1, rng)) | {"cost at rest": float(transport_cost(rest, x1).mean())}


def align(
    x0: Tensor, x1: Tensor, mask: Tensor, permute: bool = True, turn: bool = True, rounds: int = 1
) -> tuple[Tensor, Tensor]:
    """The order [B, N] of x0's rows [B, N, D] that alternating ends with, and the rows in that order, turned."""
    order = torch.arange(x0.shape[1], device=x0.device).expand(mask.shape)
    moving = None  # the molecules whose cost may still fall; None is all of them
    for k in range(rounds if permute and turn else 1):
        y0, y1, inside = (x0, x1, mask) if moving is None else (x0[moving], x1[moving], mask[moving])
        if permute:
            move = best_order(y0, y1, inside)
            y0 = y0.gather(1, move.unsqueeze(-1).expand_as(y0))
        if turn:
            y0 = rotate(y0, kabsch(y0, y1, inside))
        if moving is None:
            x0, order = y0, order.gather(1, move) if permute else order
        else:
            x0 = x0.index_copy(0, moving, y0)
            order = order.index_copy(0, moving, order[moving].gather(1, move))
        if 0 < k < rounds - 1 and permute and turn:  # after the first round all are turned, and may change again
            changed = (move != torch.arange(move.shape[1], device=move.device)).any(1)
            moving = changed.nonzero().squeeze(1) if moving is None else moving[changed]
            if not len(moving):
                break
    return order, x0


def best_order(x0: Tensor, x1: Tensor, mask: Tensor) -> Tensor:
    """order[b, i]: the row of x0 that the cheapest one-to-one pairing gives to atom i of x1; [B, N]."""
    from scipy.optimize import linear_sum_assignment

    gain = (x1 @ x0.transpose(1, 2)).cpu().double().numpy()  # |x1 - x0|^2 up to terms that no pairing changes
    order = np.tile(np.arange(gain.shape[1]), (len(gain), 1))
    for b, n in enumerate(mask.sum(1).tolist()):
        order[b, :n] = linear_sum_assignment(gain[b, :n, :n], maximize=True)[1]
    return torch.as_tensor(order, device=x0.device)
