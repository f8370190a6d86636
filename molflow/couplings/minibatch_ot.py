from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.couplings.coupling import Coupling
from molflow.rng import Rng


class MinibatchOT(Coupling):
    """The pairing of a minibatch's noise and molecules with the least total squared distance (Tong et al. 2024).

    Noise of another size cannot be paired, so the plan is solved, exactly and by POT, among molecules of equal size.
    The atoms keep their rows: chain it with ``align`` to pair those too.
    """

    def __call__(self, x0: Batch, x1: Batch, rng: Rng) -> tuple[Batch, Batch]:
        sizes = x1.sizes
        partner = torch.arange(len(x1), device=x1.device)
        for size in sizes.unique().tolist():
            members = (sizes == size).nonzero().squeeze(1)
            if len(members) > 1:
                partner[members] = members[best_partners(x0.pos[members, :size], x1.pos[members, :size])]
        return x0[partner].pad_to(x0.mask.shape[1]), x1


def best_partners(x0: Tensor, x1: Tensor) -> Tensor:
    """partner[j]: which x0 [M, N, D] the optimal plan gives to x1's molecule j."""
    import ot

    cost = torch.cdist(x1.flatten(1).double(), x0.flatten(1).double()).square().cpu().numpy()
    weight = np.full(len(cost), 1 / len(cost))
    plan = np.asarray(ot.emd(weight, weight, cost))
    return torch.as_tensor(plan.argmax(1), device=x0.device)
