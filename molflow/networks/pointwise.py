"""Each point on its own: for densities of points, where there is nothing to be equivariant to."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from molflow.batch import PAIR_FIELDS, Batch
from molflow.networks.layers.inputs import TIME_FEATURES, Clock, LabelInputs
from molflow.networks.network import Hint, Network, Widths, check_counts


class Pointwise(Network):
    """h_i = MLP(x_i, labels of i, hint of i, t), no point seeing another; x1_i = x_i + W h_i.

    A pair's label is read from the two points it joins: logits_ij = m_ij + m_ji with
    m_ij = MLP(h_i + h_j, label of ij, hint of ij).
    """

    symmetries = frozenset()

    def __init__(self, fields: Widths, dim: int = 3, width: int = 256, layers: int = 4, span: bool = False):
        super().__init__()
        check_counts("pointwise", width=width, layers=layers)
        self.atom_inputs, self.pair_inputs = LabelInputs(fields, pairs=False), LabelInputs(fields, pairs=True)
        self.clock, self.spans = Clock(span), span
        inputs = 2 * dim + 1 + self.atom_inputs.width + TIME_FEATURES
        widths = [inputs, *[width] * layers]
        self.trunk = nn.Sequential(*[part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.SiLU())])
        self.move = nn.Linear(width, dim)
        nn.init.zeros_(self.move.weight)  # the untrained network moves nothing
        nn.init.zeros_(self.move.bias)
        self.heads = nn.ModuleDict()
        for name, (_, classes) in fields.items():
            inputs = width + self.pair_inputs.width if name in PAIR_FIELDS else width
            self.heads[name] = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, classes))

    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        hinted = torch.zeros_like(x.pos) if hint is None else hint["pos"]
        known = x.pos.new_full((*x.mask.shape, 1), float(hint is not None))
        time = self.clock(t, span, x.pos.dtype)[:, None].expand(-1, x.mask.shape[1], -1)
        h = self.trunk(torch.cat([x.pos, hinted, known, *self.atom_inputs(x, hint), time], -1))  # [B, N, C]

        out = {"pos": x.pos + self.move(h)}
        for name, head in self.heads.items():
            if name in PAIR_FIELDS:
                both = torch.cat([h.unsqueeze(1) + h.unsqueeze(2), *self.pair_inputs(x, hint)], -1)
                logits = head(both)
                out[name] = logits + logits.transpose(1, 2)
            else:
                out[name] = head(h)
        return out
