"""The baseline that everyone knows: E(n)-equivariant graph network, by torch-geometric message passing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from molflow.batch import PAIR_FIELDS, Batch
from molflow.geometry import centre
from molflow.networks.layers.edges import Edges
from molflow.networks.layers.inputs import TIME_FEATURES, Clock, LabelInputs
from molflow.networks.network import Hint, Network, Widths, check_counts


class Egnn(Network):
    """EGNN (Satorras et al. 2021) as EDM trains it on QM9 (Hoogeboom et al. 2022), with bonds and a hint on its edges.

    Edge features are |x_i - x_j|^2 now and at the start, the pair labels, and the hint's pair labels and |x_i - x_j|^2.
    """

    whole = False  # its edges are counted batch by batch

    def __init__(self, fields: Widths, width: int = 256, layers: int = 9, reach: float = 15.0, span: bool = False):
        super().__init__()
        check_counts("egnn", width=width, layers=layers)
        self.atom_inputs, self.pair_inputs = LabelInputs(fields, pairs=False), LabelInputs(fields, pairs=True)
        self.clock, self.spans = Clock(span), span
        edge = self.pair_inputs.width + 4
        self.embed = nn.Linear(self.atom_inputs.width + TIME_FEATURES + 1, width)
        self.layers = nn.ModuleList(Layer(width, edge, reach / layers) for _ in range(layers))
        self.heads = nn.ModuleDict()
        for name, (_, classes) in fields.items():
            self.heads[name] = mlp(2 * width + edge if name in PAIR_FIELDS else width, width, classes)

    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        edges = Edges(x)
        whole = torch.cat([self.clock(t, span, x.pos.dtype), x.sizes.to(x.pos.dtype).log()[:, None]], 1)
        inputs = torch.cat([*self.atom_inputs(x, hint), whole[:, None].expand(-1, x.mask.shape[1], -1)], -1)
        h = self.embed(edges.nodes(inputs))  # [M, C]

        start = pos = edges.nodes(x.pos)  # [M, D]
        hinted = squares(edges.nodes(hint["pos"]), edges.index) if hint else start.new_zeros(len(edges.sender), 1)
        known = torch.full_like(hinted, float(hint is not None))
        labels = [edges.pairs(part) for part in self.pair_inputs(x, hint)]
        fixed = torch.cat([squares(start, edges.index), hinted, known, *labels], 1)  # [E, edge - 1]
        for layer in self.layers:
            h, pos = layer(h, pos, edges.index, fixed)
        out = {"pos": x.pos + centre(edges.spread_nodes(pos - start), x.mask)}

        for name, head in self.heads.items():
            if name in PAIR_FIELDS:
                ends = torch.cat([h[edges.receiver], h[edges.sender], squares(pos, edges.index), fixed], 1)
                logits = edges.spread_pairs(head(ends))
                out[name] = logits + logits.transpose(1, 2)
            else:
                out[name] = edges.spread_nodes(head(h))
        return out


class Layer(nn.Module):
    """First the features hear their neighbours, then, with the new features, the atoms move."""

    def __init__(self, width: int, edge: int, reach: float):
        super().__init__()
        self.features, self.coordinates = FeatureUpdate(width, edge), CoordinateUpdate(width, edge, reach)

    def forward(self, h: Tensor, pos: Tensor, index: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        edge = torch.cat([squares(pos, index), fixed], 1)
        h = self.features(h, index, edge)
        return h, self.coordinates(h, pos, index, edge)


class FeatureUpdate(MessagePassing):
    """h_i <- h_i + phi_h(h_i, sum_j a_ij m_ij) with m_ij = phi_e(h_i, h_j, e_ij) and a_ij = sigmoid(phi_a(m_ij))."""

    def __init__(self, width: int, edge: int):
        super().__init__(aggr="sum")
        self.phi_e = nn.Sequential(mlp(2 * width + edge, width, width), nn.SiLU())
        self.phi_a = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
        self.phi_h = mlp(2 * width, width, width)

    def forward(self, h: Tensor, index: Tensor, edge: Tensor) -> Tensor:
        heard = self.propagate(index, h=h, edge=edge)
        return h + self.phi_h(torch.cat([h, heard], 1))

    def message(self, h_i: Tensor, h_j: Tensor, edge: Tensor) -> Tensor:
        m = self.phi_e(torch.cat([h_i, h_j, edge], 1))
        return m * self.phi_a(m)


class CoordinateUpdate(MessagePassing):
    """x_i <- x_i + sum_j (x_i - x_j) / (|x_i - x_j| + 1) r tanh(phi_x(h_i, h_j, e_ij)), r the layer's reach."""

    def __init__(self, width: int, edge: int, reach: float):
        super().__init__(aggr="sum")
        self.reach = reach
        last = nn.Linear(width, 1, bias=False)
        nn.init.xavier_uniform_(last.weight, gain=0.001)  # the untrained network moves little
        self.phi_x = nn.Sequential(mlp(2 * width + edge, width, width), nn.SiLU(), last)

    def forward(self, h: Tensor, pos: Tensor, index: Tensor, edge: Tensor) -> Tensor:
        return pos + self.propagate(index, h=h, pos=pos, edge=edge)

    def message(self, h_i: Tensor, h_j: Tensor, pos_i: Tensor, pos_j: Tensor, edge: Tensor) -> Tensor:
        away = pos_i - pos_j
        length = (away.square().sum(1, keepdim=True) + 1e-8).sqrt()
        return away / (length + 1) * (self.reach * torch.tanh(self.phi_x(torch.cat([h_i, h_j, edge], 1))))


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


def squares(pos: Tensor, index: Tensor) -> Tensor:
    """|x_i - x_j|^2 of each edge, [E, 1]."""
    return (pos[index[1]] - pos[index[0]]).square().sum(1, keepdim=True)
