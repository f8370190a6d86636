"""Elements that add up: the laws of atoms turned towards a formula while it is still open which atom is which."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.chem.vocabulary import Vocabulary

UNTIL = 0.85  # of the time: afterwards coordinates and bonds know the elements, and what does not fit stays
ROUNDS = 12
LEAST = 1e-3  # atoms, in the place of none
HARDEST = 25.0  # of the strengths: beyond it laws would underflow


class Composition:
    """p_i(k) <- w_e(k) p_i(k) / Z_i, with w such that sum_i p_i(e) is the number of atoms that the formula has of e.

    A network tells each atom's law apart from the others'. Drawn from them, the number of carbons strays as the number
    of heads in throws of a coin does, and no later step knows that it has. Here one factor an element makes the
    expected numbers right, by iterative scaling within exp(-strength) .. exp(strength). Kinds of one element, such as N
    and N+, share a factor. ``counts`` [B, E] below 0 leave a molecule alone.
    """

    def __init__(self, counts: Tensor, groups: Tensor, strength: float):
        self.counts, self.groups, self.strength = counts, groups, min(strength, HARDEST)

    @classmethod
    def of(cls, x1: Batch, groups: Tensor, strength: float) -> Composition:
        """With the formulas of encoded molecules."""
        kinds = groups.to(x1.pos.device)[x1.atom] * x1.mask.unsqueeze(-1)
        return cls(kinds.sum(1), groups, strength)

    def __call__(self, end: Mapping[str, Tensor], x: Batch, t: float) -> dict[str, Tensor]:
        """The predicted endpoint with the law of atoms turned."""
        return {**end, "atom": self.turned(end["atom"], x.mask)} if t <= UNTIL else dict(end)

    def turned(self, p: Tensor, mask: Tensor) -> Tensor:
        """The laws p [B, N, K] times the factors."""
        groups, wanted = self.groups.to(p), self.counts.to(p)
        law, there = p @ groups, mask.unsqueeze(-1)  # [B, N, E]
        told = (wanted >= 0).all(-1, keepdim=True)
        factor = torch.zeros_like(wanted)  # its logarithm
        for _ in range(ROUNDS):
            share = law * factor.exp().unsqueeze(1)
            share = share / share.sum(-1, keepdim=True).clamp(min=1e-12) * there
            factor = factor + torch.where(told, ((wanted + LEAST) / (share.sum(1) + LEAST)).log(), 0.0)
            factor = (factor - factor.mean(-1, keepdim=True)).clamp(-self.strength, self.strength)
        p = p * (factor.exp() @ groups.T).unsqueeze(1)
        return p / p.sum(-1, keepdim=True).clamp(min=1e-12)


def grouped(vocabulary: Vocabulary) -> tuple[list[int], Tensor]:
    """The elements among the kinds of atoms: E atomic numbers, and which kind is which of them, [K, E] of 0 and 1."""
    numbers = [number for number, _ in vocabulary.kinds]
    elements = sorted(set(numbers))
    return elements, torch.tensor([[float(number == element) for element in elements] for number in numbers])
