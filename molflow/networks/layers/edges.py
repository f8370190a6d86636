"""Batches as lists, for message passing: atoms without padding, and every ordered pair of a molecule's atoms."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.batch import Batch


class Edges:
    """The fully connected graph of each molecule of a batch: M atoms and E edges from ``sender`` to ``receiver``.

    >>> edges = Edges(Batch.of_sizes([2, 3]))
    >>> edges.index.shape, edges.nodes(torch.ones(2, 3, 7)).shape, edges.pairs(torch.ones(2, 3, 3)).shape
    (torch.Size([2, 8]), torch.Size([5, 7]), torch.Size([8]))
    """

    def __init__(self, x: Batch):
        self.mask, self.pair_mask = x.mask, x.pair_mask
        number = self.mask.flatten().cumsum(0).view(self.mask.shape) - 1  # of each atom in the list, [B, N]
        b, i, j = self.pair_mask.nonzero(as_tuple=True)
        self.receiver, self.sender = number[b, i], number[b, j]  # [E]

    @property
    def index(self) -> Tensor:
        """[2, E], senders first, as torch-geometric has it."""
        return torch.stack([self.sender, self.receiver])

    def nodes(self, value: Tensor) -> Tensor:
        """[B, N, ...] -> [M, ...]."""
        return value[self.mask]

    def pairs(self, value: Tensor) -> Tensor:
        """[B, N, N, ...] -> [E, ...]."""
        return value[self.pair_mask]

    def spread_nodes(self, value: Tensor) -> Tensor:
        """[M, ...] -> [B, N, ...], zero in the padding."""
        return value.new_zeros(*self.mask.shape, *value.shape[1:]).index_put((self.mask,), value)

    def spread_pairs(self, value: Tensor) -> Tensor:
        """[E, ...] -> [B, N, N, ...], zero on the diagonal and in the padding."""
        return value.new_zeros(*self.pair_mask.shape, *value.shape[1:]).index_put((self.pair_mask,), value)
