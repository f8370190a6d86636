"""The best times of n steps for a trained model, found on its own ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from molflow.build import UserError
from molflow.device import fast_matmul
from molflow.generate import Model
from molflow.rng import Rng
from molflow.sampling import Sampling
from molflow.solvers.learn import changes, learned
from molflow.solvers.schedule import grid

FINE = 64  # steps of the ways that are looked at


@torch.no_grad()
def learn_grids(model: Model, steps: Sequence[int], n: int = 96, seed: int = 0) -> dict[int, list[float]]:
    """For each number of steps the times whose errors, along the fine ways of ``n`` molecules, add up to least.

    ``model.grids.update(learn_grids(model, [5, 10]))`` makes ``model.sample(100, steps=10, grid="learned")`` work. The
    steps are taken for those of the model's default solver, as far as it reuses past predictions (docs/sampling.md).
    """
    if beyond := [count for count in steps if not 1 <= count <= FINE]:
        raise UserError(f"a learned grid has between 1 and {FINE} steps, not {beyond[0]}")
    how = model.defaults
    fine = grid("quadratic", FINE)
    ids, gram = np.arange(n), 0.0
    wanted = model.asked(None, how)
    sizes = wanted.sizes.at(seed, ids)
    with fast_matmul(model.device):
        for places in model.portions.plan(sizes, model.device):
            like = model.empty(wanted, seed, ids[places], sizes[places])
            rng = Rng(seed, torch.as_tensor(ids[places], device=model.device))
            steer = model.steering(wanted, how, seed, ids[places], sizes[places], like)
            flow = model.flow(how.temperature, how.haste, steer, model.drawing(how), how.precision)
            gram = gram + changes(flow, model.prior(like, rng), fine, rng)
    clock = {t: model.path.clock(t)["pos"] for t in fine}
    return {count: learned(clock, np.asarray(gram), count, reuse_of(how)) for count in steps}


def reuse_of(how: Sampling) -> float:
    """How much of the past its solver reuses; second-order methods of two evaluations err as if it were all."""
    method = how.method()
    return getattr(method, "reuse", 0.0 if method.order in (None, 1) else 1.0)
