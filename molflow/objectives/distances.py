"""Errors of distances between near atoms, which the error of coordinates hardly feels: bonds are stiff, atoms move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.geometry import pair_distances
from molflow.paths.joint import Joint

DISTANCES = "distances"  # its name in loss.weights, beside those of the fields
REACH = 2.8  # angstrom: bonded atoms, and those that are bonded to the same one
LEFT = 0.1  # share of the noise from which on distances count in full


def distances(path: Joint, pred: Mapping[str, Tensor], x: Batch, x1: Batch, t: Tensor) -> Tensor:
    """sum over pairs with d_ij < 2.8 A of (d_ij(x1_hat) - d_ij(x1))^2, for each atom, [B].

    It weighs as the error of coordinates does at that time, and by (0.1 / sigma)^2 less while much noise is left: what
    is expected then is a mean over molecules, in which distances are too short and ought to be.
    """
    of_pos: Any = path.paths["pos"]
    expected, true = (pair_distances(pos) for pos in (of_pos.endpoint(pred["pos"], x.pos, t), x1.pos))
    near = x1.pair_mask & (true < REACH)
    each = torch.where(near, (expected - true).square(), 0).sum((1, 2)) / (2 * x1.sizes.clamp(min=1))
    late = (LEFT / of_pos.sigma(t)).square().clamp(max=1)
    return each * of_pos.weight(t, t) * late
