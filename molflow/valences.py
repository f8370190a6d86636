"""Labels that fit together: elements, charges and bonds drawn such that the bonds of each atom fill its valence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.elements import valences
from molflow.chem.vocabulary import Vocabulary
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump, draw
from molflow.rng import Rng

FROM = 0.3  # of the time: before it laws say little of the molecule, and drawn apart they keep its variety
ROUNDS = 2  # of drawing: first what is surest, then the rest, which knows of it
PASSES = 3  # of messages between atoms and bonds, before each round
HARDEST = 30.0  # of the strengths: beyond it numbers would underflow
GRAIN = 2**16  # grains of a doubt of one
TINY = 1e-30

Ends = dict[str, Tensor]


class Valences:
    """P(a, b) = prod_i p_i(a_i) prod_ij p_ij(b_ij) prod_i f(a_i, sum_j b_ij) / Z, f = 1 where that valence exists.

    A network tells the law of each label apart from the others'. Drawn from them, the orders of an atom's bonds add up
    to what it can have by chance, and no later step knows that they do not. Here what does not fill a valence counts
    e^-strength. Marginals are found by passing messages between atoms and bonds (Pearl 1982), in which the sum of an
    atom's other bonds has the product of their generating functions, taken at roots of unity. The surest labels are
    drawn from them, then the rest, given those. Molecules without hydrogens may have less than a valence. Labels for
    a time before ``FROM`` are left to be drawn apart.
    """

    def __init__(self, fills: Tensor, orders: Sequence[int], strength: float, charges: int = 1):
        """``fills`` [K, V]: whether a kind can have the valence; a kind is an element's, times the charges apart."""
        top, broken = max(orders), math.exp(-min(strength, HARDEST))
        self.orders, self.charges = list(orders), charges
        self.turns = 4 * math.ceil((fills.shape[1] + 2 * top) / 4)  # sums are told apart modulo this
        self.fills = torch.full((len(fills), self.turns + top), broken)
        self.fills[:, : fills.shape[1]] = torch.where(fills, 1.0, broken)
        angle = -2 * math.pi / self.turns * torch.outer(torch.tensor(self.orders), torch.arange(self.turns // 2 + 1))
        self.wave = torch.stack([angle.cos(), angle.sin()], -1).flatten(1)  # [C, 2 F]: an order's powers, as complex

    @classmethod
    def of(cls, vocabulary: Vocabulary, path: Joint, strength: float) -> Valences:
        """For the labels that a model knows."""
        if not vocabulary.bonds or max(vocabulary.bonds) > 3:
            known = "aromatic ones" if vocabulary.bonds else "no bonds"
            raise UserError(
                f"valences {strength:g} counts the single, double and triple bonds of each atom, and this model knows "
                f"{known}; give it 0"
            )
        if still := [name for name in vocabulary.classes if not isinstance(path.paths[name], Jump)]:
            raise UserError(
                f"valences {strength:g} draws labels that jump, and {' and '.join(still)} of this model flow as "
                "numbers; give it 0"
            )
        each = [valences(z, q + more) for z, q in vocabulary.kinds for more in vocabulary.charges or (0,)]
        fills = torch.zeros(len(each), max(map(max, each)) + 1, dtype=torch.bool)
        whole = 1 in {z for z, _ in vocabulary.kinds}  # else hydrogens that are not there fill what is missing
        for row, sums in zip(fills, each):
            row[list(sums) if whole else slice(max(sums) + 1)] = True
        return cls(fills, vocabulary.bonds, strength, len(vocabulary.charges) or 1)

    def __call__(self, end: Mapping[str, Tensor], x: Batch, rng: Rng, s: float) -> tuple[Ends, Ends]:
        """Labels of all atoms and bonds for a step to s, at the end the likeliest, and their laws given one another."""
        if s < FROM:
            return {}, {}
        kinds, bonds, upper = self._laws(end, x)
        laws: Ends = {}
        atom, bond = torch.zeros_like(x.mask, dtype=torch.long), torch.zeros_like(upper, dtype=torch.long)
        open_atom, open_bond, heard = x.mask, upper, bonds
        for left in range(ROUNDS, 0, -1):
            p, q, heard = self._believe(kinds, bonds, heard)
            laws = laws or self._apart(p, q, end)
            pick = torch.argmax if s >= 1 else lambda law, _: draw(law, rng)
            atom = torch.where(open_atom, pick(p, -1), atom)
            bond = torch.where(open_bond, pick(q, -1), bond)
            if left > 1:
                sure_atom, sure_bond = _surest(p, q, open_atom, open_bond, 1 / left)
                open_atom, open_bond = open_atom & ~sure_atom, open_bond & ~sure_bond
                kinds = _told(kinds, atom, sure_atom)
                sure = sure_bond | sure_bond.transpose(1, 2)
                bonds, heard = (_told(law, bond + bond.transpose(1, 2), sure) for law in (bonds, heard))
        labels = {"atom": atom // self.charges, "bond": bond}
        return labels | ({"charge": atom % self.charges} if "charge" in end else {}), laws

    def marginals(self, end: Mapping[str, Tensor], x: Batch) -> Ends:
        """The laws of the labels, given that they are to fit together."""
        kinds, bonds, _ = self._laws(end, x)
        p, q, _ = self._believe(kinds, bonds, bonds)
        return self._apart(p, q, end)

    def _laws(self, end: Mapping[str, Tensor], x: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of kinds and bonds, as told, none where there are no atoms; and which pairs are bonds of their own."""
        upper = x.pair_mask.triu()
        self.fills, self.wave = self.fills.to(upper.device), self.wave.to(upper.device)  # once: later it is there
        kinds = end["atom"][..., : len(self.fills) // self.charges]  # without a mask's hidden state
        if "charge" in end:
            kinds = (kinds.unsqueeze(-1) * end["charge"][..., : self.charges].unsqueeze(-2)).flatten(-2)
        bonds = end["bond"][..., : len(self.orders)] * upper.unsqueeze(-1)
        bonds = _told(bonds + bonds.transpose(1, 2), torch.zeros_like(upper, dtype=torch.long), ~x.pair_mask)
        return _law(kinds.float()), _law(bonds.float()), upper

    def _apart(self, kinds: Tensor, bonds: Tensor, end: Mapping[str, Tensor]) -> Ends:
        """Field by field."""
        each = kinds.unflatten(-1, (-1, self.charges))
        return {"atom": each.sum(-1), "bond": bonds} | ({"charge": each.sum(-2)} if "charge" in end else {})

    def _believe(self, kinds: Tensor, bonds: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The marginals, and the law of each bond as an atom of it hears it: without its own word."""
        for _ in range(PASSES):
            said, filled = self._pass(kinds, heard)
            heard = _law(bonds * said.transpose(1, 2))
        return _law(kinds * filled), _law(heard * said), heard

    def _pass(self, kinds: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """What each atom says of its bonds, [B, N, N, C], and its bonds of its kind, [B, N, K]."""
        g = torch.view_as_complex((heard @ self.wave).unflatten(-1, (-1, 2)))  # [B, N, N, F]
        before, after, others = g.cumprod(2), g.flip(2).cumprod(2).flip(2), torch.ones_like(g)
        others[:, :, 1:] = before[:, :, :-1]
        others[:, :, :-1] *= after[:, :, 1:]
        rest = torch.fft.irfft(others, n=self.turns).clamp(min=0)  # the law of the sum of an atom's other bonds
        whole = torch.fft.irfft(before[:, :, -1], n=self.turns).clamp(min=0)
        fits = kinds @ self.fills  # how well an atom could have each sum
        shifted = torch.stack([fits[..., k : k + self.turns] for k in self.orders], -1)
        return rest @ shifted, whole @ self.fills[:, : self.turns].T


def _law(p: Tensor) -> Tensor:
    return p / p.sum(-1, keepdim=True).clamp(min=TINY)


def _told(laws: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """The laws with those of labels that are known."""
    return torch.where(where.unsqueeze(-1), one_hot(labels, laws.shape[-1]).to(laws), laws)


def _surest(p: Tensor, q: Tensor, atoms: Tensor, bonds: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The surest of a molecule's free labels, as many as hold this share of all its doubt."""
    doubt = torch.cat([(1 - p.amax(-1)), (1 - q.amax(-1)).flatten(1)], 1)
    free = torch.cat([atoms, bonds.flatten(1)], 1)
    doubt = (doubt * GRAIN).round() / GRAIN  # sums of these are exact: ties stay ties, whatever stands beside them
    ordered, place = doubt.masked_fill(~free, 2.0).sort(dim=1, stable=True)
    counted = torch.where(ordered < 2, ordered, 0.0).cumsum(1)
    settled = torch.zeros_like(free).scatter(1, place, counted <= share * counted[:, -1:]) & free
    return settled[:, : atoms.shape[1]], settled[:, atoms.shape[1] :].view(bonds.shape)
