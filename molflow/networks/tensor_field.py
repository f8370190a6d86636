"""Features of every angular momentum up to lmax, by e3nn: the exact reference for equivariance, and the dear one."""

# e3nn annotates Irreps as a tuple of pairs, which its entries are not
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn.functional import silu

from molflow.batch import PAIR_FIELDS, Batch
from molflow.build import UserError
from molflow.geometry import centre
from molflow.networks.layers.edges import Edges
from molflow.networks.layers.inputs import TIME_FEATURES, Clock, LabelInputs
from molflow.networks.layers.radial import Radial
from molflow.networks.network import Hint, Network, Widths, check_counts


class TensorField(Network):
    """Atoms carry C channels of each irrep 0e + 1o + 2e ... of O(3) (Thomas et al. 2018; Batzner et al. 2022).

    A message is the tensor product of a neighbour's features with the spherical harmonics of the way to it, weighted by
    an MLP of what is invariant. The endpoint is x plus a vector read from the 1o features.
    """

    whole = False  # its edges are counted batch by batch

    def __init__(
        self,
        fields: Widths,
        dim: int = 3,
        channels: int = 16,
        lmax: int = 2,
        layers: int = 3,
        radial: int = 16,
        span: bool = False,
    ):
        super().__init__()
        if dim != 3:
            raise UserError(f"network tensor_field knows rotations of 3 dimensions, not of {dim}; choose dense or egnn")
        check_counts("tensor_field", channels=channels, layers=layers)
        if lmax < 1:
            raise UserError(f"network tensor_field: lmax must be at least 1 to move atoms, not {lmax}")
        self.atom_inputs, self.pair_inputs = LabelInputs(fields, pairs=False), LabelInputs(fields, pairs=True)
        self.radial, self.channels = Radial(radial), channels
        self.clock, self.spans = Clock(span), span
        invariants = self.pair_inputs.width + 2 * radial + 1
        self.irreps = irreps = o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(lmax + 1)])
        self.harmonics = o3.SphericalHarmonics(range(lmax + 1), normalize=False, normalization="component")
        inputs = o3.Irreps([(self.atom_inputs.width + TIME_FEATURES + 1, "0e"), (1, "1o")])
        self.embed = o3.Linear(inputs, irreps)
        self.layers = nn.ModuleList(Layer(irreps, self.harmonics.irreps_out, invariants) for _ in range(layers))
        self.move = o3.Linear(irreps, "1x1o")
        nn.init.zeros_(self.move.weight)  # the untrained network moves nothing
        self.heads = nn.ModuleDict()
        for name, (_, classes) in fields.items():
            width = channels * (lmax + 1) + invariants if name in PAIR_FIELDS else channels
            self.heads[name] = nn.Sequential(nn.Linear(width, 64), nn.SiLU(), nn.Linear(64, classes))
        for module in self.modules():  # e3nn's constants vary with its version: only weights are saved
            for name, value in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, value, persistent=False)

    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        with torch.autocast(x.pos.device.type, enabled=False):  # an exact reference, whatever the precision of training
            return self.predict(x, t, hint, span)

    def predict(self, x: Batch, t: Tensor, hint: Hint | None, span: Tensor | None) -> dict[str, Tensor]:
        edges = Edges(x)
        pos = edges.nodes(x.pos)  # [M, 3]
        hinted = edges.nodes(hint["pos"]) if hint else pos
        whole = torch.cat([self.clock(t, span, pos.dtype), x.sizes.to(pos.dtype).log()[:, None]], 1)
        scalars = torch.cat([*self.atom_inputs(x, hint), whole[:, None].expand(-1, x.mask.shape[1], -1)], -1)
        h = self.embed(torch.cat([edges.nodes(scalars), hinted - pos], 1))

        r = pos[edges.sender] - pos[edges.receiver]  # [E, 3]
        d = length(r)
        near = self.radial(length(hinted[edges.sender] - hinted[edges.receiver]))
        known = d.new_full((len(d), 1), float(hint is not None))
        labels = [edges.pairs(part) for part in self.pair_inputs(x, hint)]
        invariants = torch.cat([self.radial(d), near * known, known, *labels], 1)
        around = self.harmonics(r / (1 + d)[:, None])  # solid harmonics: smooth where two atoms coincide
        for layer in self.layers:
            h = layer(h, edges, around, invariants)
        out = {"pos": x.pos + centre(edges.spread_nodes(self.move(h)), x.mask)}

        for name, head in self.heads.items():
            if name in PAIR_FIELDS:
                ends = torch.cat([self.products(h[edges.receiver], h[edges.sender]), invariants], 1)
                logits = edges.spread_pairs(head(ends))
                out[name] = logits + logits.transpose(1, 2)
            else:
                out[name] = edges.spread_nodes(head(h[:, : self.channels]))
        return out

    def products(self, a: Tensor, b: Tensor) -> Tensor:
        """The sums of the two ends' scalars and the inner products of their higher features, [E, C (lmax + 1)]."""
        C, parts = self.channels, [a[:, : self.channels] + b[:, : self.channels]]
        product, start = a * b, C
        for _, ir in self.irreps[1:]:
            stop = start + C * ir.dim
            parts.append(product[:, start:stop].view(-1, C, ir.dim).sum(-1))
            start = stop
        return torch.cat(parts, 1)


class Layer(nn.Module):
    """h_i <- h_i + W gate(W h_i + sum_j h_j (x)_w Y(r_ij)), the weights w an MLP of the pair's invariants."""

    def __init__(self, irreps: o3.Irreps, harmonics: o3.Irreps, invariants: int, hidden: int = 64):
        super().__init__()
        self.irreps, scalars = irreps, irreps[:1]
        self.channels = irreps[0].mul
        self.product = Product(irreps, harmonics)
        self.from_ends = nn.Linear(self.channels, 2 * hidden)
        self.from_pair = nn.Linear(invariants, hidden)
        self.to_weights = nn.Linear(hidden, self.product.weights)
        gates = o3.Irreps([(irreps[1:].num_irreps, "0e")])
        self.gate = Gate(scalars, [silu], gates, [torch.sigmoid], irreps[1:])
        self.from_heard = o3.Linear(self.product.irreps_out, self.gate.irreps_in)
        self.from_self = o3.Linear(irreps, self.gate.irreps_in)
        self.out = o3.Linear(self.gate.irreps_out, irreps)

    def forward(self, h: Tensor, edges: Edges, around: Tensor, invariants: Tensor) -> Tensor:
        receiver, sender = self.from_ends(h[:, : self.channels]).chunk(2, 1)
        hidden = silu(receiver[edges.receiver] + sender[edges.sender] + self.from_pair(invariants))
        message = self.product(h[edges.sender], around, self.to_weights(hidden))
        heard = message.new_zeros(len(h), message.shape[1]).index_add(0, edges.receiver, message)
        return h + self.out(self.gate(self.from_self(h) + self.from_heard(0.2 * heard)))


class Product(nn.Module):
    """(a (x)_w Y)_k = w sum_ij C_ijk a_i Y_j for each path of irreps (i, j) -> k and each channel.

    C are the Wigner 3j symbols. It is e3nn's ``TensorProduct`` in mode ``uvu``, with constants that stay out of the
    state_dict, of copies too.
    """

    def __init__(self, irreps: o3.Irreps, harmonics: o3.Irreps):
        super().__init__()
        paths = []
        for i, (_, a) in enumerate(irreps):
            for j, (_, y) in enumerate(harmonics):
                paths += [(out, i, j) for out in a * y if out in irreps]
        self.paths = sorted(paths)
        self.channels, self.weights = irreps[0].mul, irreps[0].mul * len(paths)
        self.irreps_out = o3.Irreps([(self.channels, out) for out, _, _ in self.paths]).simplify()
        self.slices, self.around = irreps.slices(), harmonics.slices()
        for k, (out, i, j) in enumerate(self.paths):
            wigner = o3.wigner_3j(irreps[i].ir.l, harmonics[j].ir.l, out.l) * out.dim**0.5
            self.register_buffer(f"wigner{k}", wigner, persistent=False)

    def forward(self, a: Tensor, around: Tensor, weights: Tensor) -> Tensor:
        """a [E, irreps], around [E, harmonics], weights [E, paths * C] -> [E, irreps_out]."""
        E, C = len(a), self.channels
        out = []
        for k, w in enumerate(weights.view(E, len(self.paths), C, 1).unbind(1)):
            _, i, j = self.paths[k]
            turn = torch.einsum("ijk,ej->eik", self.get_buffer(f"wigner{k}"), around[:, self.around[j]])
            out.append((w * (a[:, self.slices[i]].view(E, C, turn.shape[1]) @ turn)).flatten(1))
        return torch.cat(out, 1)


def length(r: Tensor) -> Tensor:
    """|r| of [E, 3]; the floor keeps the gradient finite where it is zero."""
    return (r.square().sum(1) + 1e-12).sqrt()
