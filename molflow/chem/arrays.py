"""Molecules as flat arrays: molecule k owns atoms offsets[k] to offsets[k + 1], and bonds likewise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molflow.build import UserError

if TYPE_CHECKING:
    from molflow.batch import Batch


@dataclass
class Arrays:
    """What a batch and an npz file hold alike; columns that they need not have are None."""

    offsets: np.ndarray  # [M + 1]
    numbers: np.ndarray  # [A]
    positions: np.ndarray  # [A, 3] angstrom
    charges: np.ndarray | None = None  # [A]
    bond_offsets: np.ndarray | None = None  # [M + 1]
    bonds: np.ndarray | None = None  # [E, 3]: i, j, order
    smiles: np.ndarray | None = None  # [M] bytes
    split: np.ndarray | None = None  # [M]
    props: dict[str, np.ndarray] = field(default_factory=dict)  # each [M]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def labels(self, k: int) -> tuple[list[int], list[int], list[list[int]]]:
        """Atomic numbers, charges and bonds of molecule k."""
        atoms = slice(self.offsets[k], self.offsets[k + 1])
        numbers = self.numbers[atoms].tolist()
        charges = [0] * len(numbers) if self.charges is None else self.charges[atoms].tolist()
        if self.bonds is None or self.bond_offsets is None:
            return numbers, charges, []
        return numbers, charges, self.bonds[self.bond_offsets[k] : self.bond_offsets[k + 1]].tolist()

    def places(self, k: int) -> np.ndarray:
        """Where its atoms are, [n, 3] in double precision."""
        return self.positions[self.offsets[k] : self.offsets[k + 1]].astype(np.float64)


def arrays_of(batch: Batch) -> Arrays:
    """The molecules of a batch that speaks chemistry, wherever its padding lies; orders of bonds as they are.

    >>> import torch
    >>> from molflow import Batch
    >>> hydrogen = Batch(torch.zeros(1, 3, 3), torch.tensor([[True, False, True]]), atom=torch.tensor([[1, 0, 1]]),
    ...                  bond=torch.tensor([[[0, 0, 1], [0, 0, 0], [1, 0, 0]]]))
    >>> arrays_of(hydrogen).bonds.tolist()
    [[0, 1, 1]]
    """
    if batch.atom is None:
        raise UserError("these points carry no elements: they are no molecules")
    for name, axes in (("atom", 2), ("charge", 2), ("bond", 3)):
        value = getattr(batch, name)
        if value is not None and (value.is_floating_point() or value.ndim != axes):
            raise UserError(f"{name} holds distributions over classes: Vocabulary.decode makes labels of them")
    if batch.pos.shape[-1] > 3:
        raise UserError(f"molecules live in at most 3 dimensions, not {batch.pos.shape[-1]}")
    batch = batch.to("cpu")
    mask = batch.mask.numpy()
    positions = batch.pos.detach().numpy()[mask]
    arrays = Arrays(
        offsets_of(mask.sum(1)),
        batch.atom.numpy()[mask],  # type: ignore[union-attr]
        np.pad(positions, ((0, 0), (0, 3 - positions.shape[1]))),
        None if batch.charge is None else batch.charge.numpy()[mask],
    )
    if batch.bond is not None:
        orders = np.triu(batch.bond.numpy(), 1) * (mask[:, :, None] & mask[:, None, :])
        owner, i, j = np.nonzero(orders)
        place = np.cumsum(mask, 1) - 1  # of an atom in its molecule
        arrays.bonds = np.stack([place[owner, i], place[owner, j], orders[owner, i, j]], 1)
        arrays.bond_offsets = offsets_of(np.bincount(owner, minlength=len(mask)))
    return arrays


def offsets_of(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of several runs of such lengths begins, and the end of the last."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
