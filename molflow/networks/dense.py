"""Scalars, vectors and pair features over all pairs of atoms; every layer moves the atoms and measures them anew."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu, softmax
from torch.utils.checkpoint import checkpoint

from molflow.batch import PAIR_FIELDS, Batch
from molflow.build import UserError
from molflow.networks.layers.by_hand import distances, measured, normalised
from molflow.networks.layers.inputs import TIME_FEATURES, Clock, LabelInputs
from molflow.networks.layers.radial import Radial
from molflow.networks.layers.told import Told
from molflow.networks.network import Hint, Network, Widths, check_counts

RARE = -4.0  # the logit of a label that is new

SUM_SCALE = 0.2  # a sum over some twenty neighbours back to the size of one
STEP_SCALE = 12.0  # angstrom a layer; over the width, since Adam moves a wider sum faster


class Dense(Network):
    """State: atom scalars h [B, N, C] and vectors v [B, N, K, D], pair features e [B N N, P], positions x [B, N, D].

    Pair features are rows, as matrix products like them; what is a few numbers a pair (distances, radial functions,
    inner products, attention) has those first, [K, B, N, N], so that every operation runs along whole rows of memory.
    The refined x is the endpoint of the coordinates; heads read atoms' labels from h, pairs' from e and |x_i - x_j|.
    ``triangles`` is the number of channels in which a pair of atoms hears of every third atom; 0 leaves them out.
    ``recompute`` keeps only what passes between layers for the backward pass, which computes the rest once more.
    ``span`` lets it read how far it is to leap, ``census`` what the molecule is to have.
    """

    def __init__(
        self,
        fields: Widths,
        width: int = 128,
        pair_width: int = 40,
        vectors: int = 10,
        heads: int = 8,
        layers: int = 8,
        radial: int = 16,
        triangles: int = 0,
        recompute: bool = False,
        span: bool = False,
        census: bool = False,
    ):
        super().__init__()
        check_counts("dense", width=width, pair_width=pair_width, vectors=vectors, heads=heads, layers=layers)
        if width % heads:
            raise UserError(f"network 'dense': heads ({heads}) must divide width ({width})")
        if triangles < 0:
            raise UserError(f"network 'dense': triangles is a number of channels, 0 for none, not {triangles}")
        self.atom_inputs, self.pair_inputs = LabelInputs(fields, pairs=False), LabelInputs(fields, pairs=True)
        if census and not fields:
            raise UserError("network 'dense': census tells of atoms and bonds, and these are points without labels")
        self.vectors, self.recompute, self.spans, self.census = vectors, recompute, span, census
        self.clock = Clock(span)
        self.told = Told(fields, [width, pair_width, TIME_FEATURES]) if census else None
        self.radial = Radial(radial)
        self.embed_atoms = nn.Linear(self.atom_inputs.width + TIME_FEATURES + 1, width)
        self.embed_pairs = nn.Linear(self.pair_inputs.width + 2 * radial + 1, pair_width)
        closed = [triangles] * layers
        if not self.pair_inputs.fields:
            closed[-1] = 0  # nobody reads the last pair features
        self.layers = nn.ModuleList(Layer(width, pair_width, vectors, heads, radial, count) for count in closed)
        self.heads = nn.ModuleDict()
        for name, (_, classes) in fields.items():
            inputs = pair_width + radial if name in PAIR_FIELDS else width
            self.heads[name] = nn.Sequential(
                nn.LayerNorm(inputs), nn.Linear(inputs, inputs), nn.SiLU(), nn.Linear(inputs, classes)
            )

    def grown(self, weights: Mapping[str, Tensor], fewer: Network) -> dict[str, Tensor]:
        """What is new is read as it is drawn here, and at first rarely predicted: known molecules stay as likely."""
        assert isinstance(fewer, Dense)
        own, out = self.state_dict(), dict(weights)
        for name, inputs, known in (
            ("embed_atoms.weight", self.atom_inputs, fewer.atom_inputs),
            ("embed_pairs.weight", self.pair_inputs, fewer.pair_inputs),
        ):
            rest = torch.arange(known.width, weights[name].shape[1]) + inputs.width - known.width
            out[name] = own[name].clone()
            out[name][:, torch.cat([inputs.places(known), rest])] = weights[name]
        for field in self.heads:
            for part, at_first in (("weight", 0.0), ("bias", RARE)):
                name = f"heads.{field}.3.{part}"
                out[name] = torch.full_like(own[name], at_first)
                out[name][: len(weights[name])] = weights[name]
        return out

    def forward(
        self, x: Batch, t: Tensor, *, hint: Hint | None = None, span: Tensor | None = None
    ) -> dict[str, Tensor]:
        mask, pos = x.mask, x.pos
        time = self.clock(t, span, pos.dtype)
        if self.told is not None:
            of_atoms, of_pairs, of_time = self.told(x, t, hint)
            time = time + of_time
        sizes = mask.sum(1, keepdim=True).to(pos.dtype)
        whole = torch.cat([time, sizes.log()], 1)[:, None].expand(-1, mask.shape[1], -1)
        h = self.embed_atoms(torch.cat([*self.atom_inputs(x, hint), whole], -1))  # [B, N, C]

        B, N = mask.shape
        d, _ = distances(pos)
        known = torch.zeros_like(d) if hint is None else torch.ones_like(d)
        hinted = self.radial(distances(hint["pos"])[0], 0) if hint else d.new_zeros(len(self.radial.mu), *d.shape)
        labels = [part.permute(3, 0, 1, 2) for part in self.pair_inputs(x, hint)]
        e = self.embed_pairs(rows(torch.cat([*labels, self.radial(d, 0), hinted, known.unsqueeze(0)])))
        if self.told is not None:
            h = h + of_atoms.unsqueeze(1)
            e = (e.view(B, N * N, -1) + of_pairs.unsqueeze(1)).flatten(0, 1)

        v = pos.new_zeros(*pos.shape[:2], self.vectors, pos.shape[-1])  # [B, N, K, D]
        weight = mask.to(pos.dtype)
        if hint:
            v[:, :, 0] = (hint["pos"] - pos) * weight.unsqueeze(-1)
        away = d.new_zeros(mask.shape).masked_fill(~mask, -1e9).unsqueeze(1)  # no attention to padding, [B, 1, N]
        start = pos
        for layer in self.layers:
            state = h, v, e, pos, time, weight, away, self.radial
            if self.recompute and torch.is_grad_enabled():
                h, v, e, pos = checkpoint(layer, *state, use_reentrant=False, preserve_rng_state=False)
            else:
                h, v, e, pos = layer(*state)
        moved = (pos - start) * mask.unsqueeze(-1)
        out = {"pos": start + moved - moved.sum(1, keepdim=True) / sizes.clamp(min=1).unsqueeze(-1)}

        e = e.view(B, N, N, -1)
        for name, head in self.heads.items():
            if name in PAIR_FIELDS:
                both = torch.cat([e + e.transpose(1, 2), self.radial(distances(pos)[0])], -1)
                out[name] = head(both)
            else:
                out[name] = head(h)
        return out


class Layer(nn.Module):
    """One exchange between atoms and pairs.

    z_ij = SiLU(A h_i + B h_j + F [e_ij, radial(d_ij), v_i . r_ij, v_i . v_j]) is projected for the nodes first and only
    added on pairs; one linear map of z gives everything that pairs tell atoms, and the sides a, b of the triangles:
    e_ij <- e_ij + ... + C sum_k a_ik b_kj (Jumper et al. 2021).
    """

    def __init__(self, width: int, pair_width: int, vectors: int, heads: int, radial: int, triangles: int = 0):
        super().__init__()
        self.width, self.pair_width, self.vectors, self.heads = width, pair_width, vectors, heads
        hidden = pair_width
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.time = nn.Linear(TIME_FEATURES, 2 * width)
        self.from_atoms = nn.Linear(width, 2 * hidden + width)
        self.from_pairs = nn.Linear(pair_width + radial + 2 * vectors, hidden)
        self.shares = [pair_width, heads, 2 * vectors, 1, 2 * triangles]
        self.to_pairs = nn.Linear(hidden, sum(self.shares))
        self.closed = nn.Linear(triangles, pair_width, bias=False) if triangles else None
        self.gathered = nn.Linear(hidden, width, bias=False)
        first, last = nn.Linear(2 * width + vectors, 2 * width), nn.Linear(2 * width, width + 2 * vectors)
        self.update = nn.Sequential(first, nn.SiLU(), last)
        self.mix = nn.Linear(vectors, vectors, bias=False)
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)
        nn.init.zeros_(last.weight[-vectors:])  # the untrained network moves nothing
        nn.init.zeros_(last.bias[-vectors:])

    def forward(
        self, h: Tensor, v: Tensor, e: Tensor, pos: Tensor, time: Tensor, mask: Tensor, away: Tensor, radial: Radial
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (B, N, C), D = h.shape, pos.shape[-1]
        P, K, H = self.pair_width, self.vectors, self.heads
        scale, shift = self.time(time).unsqueeze(1).chunk(2, -1)
        normed = self.norm(h) * (1 + scale) + shift
        a, b, values = self.from_atoms(normed).split([P, P, C], -1)

        with exact(pos):  # features [R + 2 K, B, N, N]
            u = normalised(v)
            each = u.permute(2, 0, 1, 3).reshape(K * B, N, D)
            near, r = measured(pos, mask, radial)
            r = r.view(D, B * N, N)
            towards = (u.reshape(B * N, K, D) @ r.transpose(0, 1)).view(B, N, K, N).permute(2, 0, 1, 3)
            alike = (each @ each.transpose(1, 2)).view(K, B, N, N)
            features = torch.cat([near, towards, alike])
        of_state, of_features = self.from_pairs.weight.split([P, len(features)], 1)
        z = ((a + self.from_pairs.bias).unsqueeze(2) + b.unsqueeze(1)).view(-1, P)
        z = add_product(add_product(z, e, of_state), rows(features), of_features)
        z = silu(z, inplace=not torch.is_grad_enabled())  # [B N N, P]
        (change, told), (start, level) = (part.tensor_split([P]) for part in self.to_pairs.parameters())
        e = add_product(e, z, change, start)
        few = torch.addmm(level.unsqueeze(1), told, z.t()).view(-1, B, N, N)
        logits, moves, gate, sides = few.split(self.shares[1:])
        if self.closed is not None:
            e = add_product(e, rows(triangles(sides, mask)), SUM_SCALE * self.closed.weight)

        attention = softmax(logits + away, -1).view(H * B, N, N)
        heard = attention @ values.view(B, N, H, C // H).permute(2, 0, 1, 3).reshape(H * B, N, C // H)
        heard = heard.view(H, B, N, C // H).permute(1, 2, 0, 3).reshape(B, N, C)
        gate = gate.squeeze(0).sigmoid() * mask.unsqueeze(1)
        seen = self.gathered((gate.view(B * N, 1, N) @ z.view(B * N, N, P)).view(B, N, P)) * SUM_SCALE
        update = self.update(torch.cat([normed, heard + seen, u.square().sum(-1).to(normed.dtype)], -1))
        dh, gates, steps = update.split([C, K, K], -1)

        with exact(pos):
            along, across = moves.to(pos.dtype).chunk(2)
            pushed = (along.reshape(K, B * N, N).transpose(0, 1) @ r.permute(1, 2, 0)).view(B, N, K, D)
            carried = (across.reshape(K * B, N, N) @ each).view(K, B, N, D).permute(1, 2, 0, 3)
            mixed = gates.to(pos.dtype).unsqueeze(-1) * torch.einsum("lk,bikc->bilc", self.mix.weight, u)
            v = (v + SUM_SCALE * (pushed + carried) + mixed) * mask[..., None, None]
            move = (steps.to(pos.dtype).unsqueeze(-1) * normalised(v)).sum(2)
            pos = pos + STEP_SCALE / self.width * move
        return h + dh, v, e, pos


def rows(first: Tensor) -> Tensor:
    """[K, B, N, N] -> a row for each pair, [B N N, K], a view."""
    return first.flatten(1).t()


def add_product(total: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """total + x W^T, and a bias; without one in the memory of ``total``, which nobody else reads.

    Autocast has no such product, and a CPU is slow to add a bias in bf16 but within the product.
    """
    if torch.is_autocast_enabled(total.device.type):
        if bias is None:
            return torch.addmm(total, x, weight.t())
        product = linear(x, weight, bias)
        return total.to(product.dtype) + product
    return (total if bias is None else total + bias).addmm_(x, weight.t())


def triangles(sides: Tensor, mask: Tensor) -> Tensor:
    """sum_k a_ik b_kj over the atoms k, a and b the halves of the channels: [2 T, B, N, N] -> [T, B, N, N]."""
    a, b = (sides * mask.unsqueeze(1)).chunk(2)
    return a @ b


def exact(pos: Tensor) -> torch.autocast:
    """Geometry keeps the precision of the coordinates, whatever the matrix products of features use."""
    return torch.autocast(pos.device.type, enabled=False)
