from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molflow.batch import PAIR_FIELDS, Batch
from molflow.paths.path import Path, Time
from molflow.rng import Rng


class Joint:
    """A path for each field of a molecule, spoken to in Batches: all that objectives and solvers know of paths."""

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = dict(paths)

    def sample(self, x0: Batch, x1: Batch, t: Time, rng: Rng) -> Batch:
        """x_t, field by field."""
        x = {name: path.sample(getattr(x0, name), getattr(x1, name), t, rng) for name, path in self.paths.items()}
        return x1.replace(**x).tidy()

    def endpoint(self, pred: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: path.endpoint(pred[name]) for name, path in self.paths.items()}

    def loss(self, pred: Mapping[str, Tensor], x1: Batch, t: Tensor) -> dict[str, Tensor]:
        """A scalar a field, the mean over molecules: of the mean over atoms, or of the sum over bonds for each atom."""
        atoms = x1.sizes.clamp(min=1)
        losses = {}
        for name, path in self.paths.items():
            each = path.loss(pred[name], getattr(x1, name), t)
            if name in PAIR_FIELDS:
                losses[name] = (torch.where(x1.pair_mask, each, 0).sum((1, 2)) / (2 * atoms)).mean()
            else:
                losses[name] = (torch.where(x1.mask, each, 0).sum(1) / atoms).mean()
        return losses

    def velocity(self, pred: Mapping[str, Tensor], x: Batch, t: Time) -> dict[str, Tensor]:
        return {name: path.velocity(pred[name], getattr(x, name), t) for name, path in self.paths.items()}

    def advance(self, x: Batch, v: Mapping[str, Tensor], t: float, s: float, rng: Rng | None) -> Batch:
        """The molecules at s; pairs are read from their upper triangle, so a bond's two entries jump as one."""
        moved = {name: path.advance(getattr(x, name), v[name], t, s, rng) for name, path in self.paths.items()}
        return x.replace(**moved).tidy()
