"""What a molecule is to have, as additions to a network's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from molflow.batch import Batch
from molflow.chem.census import CENSUS, UNKNOWN, counted, tally, width
from molflow.networks.network import Hint, Widths

HIDDEN = 64
MANY = 8.0  # atoms or bonds, as inputs of about one
FEW = 2.0  # that are lacking


class Told(nn.Module):
    """A molecule's census, and what the hint lacks of it, [B, C] for each of the ``widths``.

    Untrained it adds nothing, and nothing for molecules whose census is not known: weights learnt without it go on as
    they were.
    """

    def __init__(self, fields: Widths, widths: Sequence[int]):
        super().__init__()
        self.classes = {name: classes for name, (_, classes) in fields.items()}
        self.widths = list(widths)
        self.read = nn.Linear(width(self.classes) + counted(self.classes), HIDDEN)
        self.add = nn.Linear(HIDDEN, sum(widths), bias=False)
        nn.init.zeros_(self.add.weight)

    def forward(self, x: Batch, hint: Hint | None) -> tuple[Tensor, ...]:
        census = x.props.get(CENSUS)
        if census is None:
            census = x.pos.new_full((len(x), width(self.classes)), UNKNOWN)
        census = census.to(x.pos.dtype)
        known = (census >= 0).all(-1, keepdim=True)
        labels = counted(self.classes)
        lacking = torch.zeros_like(census[:, :labels])
        if hint:
            lacking = census[:, :labels] - tally({name: hint[name] for name in self.classes}, x)
        told = self.add(silu(self.read(torch.cat([census / MANY, lacking / FEW], 1))))
        return tuple((told * known).split(self.widths, -1))
