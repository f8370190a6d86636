from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.couplings.coupling import Coupling
from molflow.geometry import kabsch, rotate
from molflow.rng import Rng


class Align(Coupling):
    """min over permutations P and rotations R of |x1 - P x0 R^T|^2, molecule by molecule (Klein et al. 2023).

    The atoms of the noise are interchangeable and it has no orientation, so either move leaves its law alone. The
    permutation is exact (Jonker-Volgenant), the rotation Kabsch's; ``rounds`` repeats the two.
    """

    def __init__(self, permute: bool = True, rotate: bool = True, rounds: int = 1):
        self.permute, self.rotate, self.rounds = permute, rotate, rounds
        self.turns = rotate

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        for _ in range(self.rounds):
            if self.permute:
                x0 = x0.permute(best_order(x0.pos, x1.pos, x1.mask))
            if self.rotate:
                x0 = x0.replace(pos=rotate(x0.pos, kabsch(x0.pos, x1.pos, x1.mask)))
        return x0, x1


def best_order(x0: Tensor, x1: Tensor, mask: Tensor) -> Tensor:
    """order[b, i]: the row of x0 that the cheapest one-to-one pairing gives to atom i of x1; [B, N]."""
    from scipy.optimize import linear_sum_assignment

    gain = (x1 @ x0.transpose(1, 2)).double().cpu().numpy()  # |x1 - x0|^2 up to terms that no pairing changes
    order = np.tile(np.arange(gain.shape[1]), (len(gain), 1))
    for b, n in enumerate(mask.sum(1).tolist()):
        order[b, :n] = linear_sum_assignment(gain[b, :n, :n], maximize=True)[1]
    return torch.as_tensor(order, device=x0.device)
