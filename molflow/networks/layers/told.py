"""What a molecule is to have, as additions to a network's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, silu

from molflow.batch import Batch
from molflow.chem.census import CENSUS, UNKNOWN, expected, width
from molflow.networks.network import Hint, Widths

HIDDEN = 64
MOST = 63  # of one thing that are told apart
FEW = 2.0  # that are lacking, as an input of one
UNTIL = 0.5  # of the time: afterwards it is settled which molecule it will be, and what it has not is not to be mended


class Told(nn.Module):
    """A molecule's census, and what the hint is expected to lack of it, [B, C] for each of the ``widths``.

    Every number is looked up, so that six and seven carbons are as different as one and two. Untrained it adds nothing,
    and nothing for molecules whose census is not known: weights learnt without it go on as they were. Late on the way
    it adds nothing either.
    """

    def __init__(self, fields: Widths, widths: Sequence[int]):
        super().__init__()
        self.classes = {name: classes for name, (_, classes) in fields.items()}
        self.widths = list(widths)
        self.numbers = nn.Parameter(torch.randn(width(self.classes), MOST + 1, HIDDEN) * width(self.classes) ** -0.5)
        self.lacking = nn.Linear(width(self.classes), HIDDEN)
        self.add = nn.Linear(HIDDEN, sum(widths), bias=False)
        nn.init.zeros_(self.add.weight)

    def forward(self, x: Batch, t: Tensor, hint: Hint | None) -> tuple[Tensor, ...]:
        census = x.props.get(CENSUS)
        if census is None:
            census = torch.full((len(x), width(self.classes)), UNKNOWN, device=x.device)
        heard = (census >= 0).all(-1) & (t <= UNTIL)
        places = torch.arange(census.shape[1], device=x.device) * (MOST + 1) + census.long().clamp(0, MOST)
        looked_up = embedding(places, self.numbers.flatten(0, 1))  # [B, M, HIDDEN]
        lacking = x.pos.new_zeros(census.shape)
        if hint:
            lacking = census - expected({name: hint[name] for name in self.classes}, x)
        told = self.add(silu(looked_up.sum(1) + self.lacking(lacking / FEW)))
        return tuple((told * heard.unsqueeze(1)).split(self.widths, -1))
