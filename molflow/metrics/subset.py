"""A random part of the molecules that does not depend on their order, on shards or on workers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from molflow.metrics.graph import piece_hashes
from molflow.metrics.keys import keys_of
from molflow.metrics.molecules import Molecules


@dataclass(frozen=True)
class Subset:
    """The ``size`` molecules with the smallest hash of (seed, composition, sum of squared distances).

    Where there are no coordinates, who is bonded to whom tells isomers apart. A molecule's draw is its own property, so
    that the parts of two shards join to the part of the whole. Only molecules that passed the gate take part; ``of``
    counts them.
    """

    size: int
    seed: int
    of: int = 0
    draws: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))  # [K], ascending
    molecules: Molecules = field(default_factory=Molecules.none)  # [K]

    def add(self, molecules: Molecules) -> Subset:
        """With the molecules of another block."""
        fit = np.array([not fault for fault in molecules.faults], bool)
        new = Subset(self.size, self.seed, int(fit.sum()), _draws(molecules[fit], self.seed), molecules[fit])
        return self + new

    def __add__(self, other: Subset) -> Subset:
        of = self.of + other.of
        if not len(self.draws) or not len(other.draws):
            whole = self if len(self.draws) else other
            return Subset(self.size, self.seed, of, whole.draws, whole.molecules).first(self.size)
        draws = np.concatenate([self.draws, other.draws])
        chosen = np.argsort(draws, kind="stable")[: self.size]
        if chosen.max(initial=-1) < len(self.draws) == self.size:  # nothing of the other is among the smallest
            return Subset(self.size, self.seed, of, self.draws, self.molecules)
        return Subset(self.size, self.seed, of, draws[chosen], Molecules.cat([self.molecules, other.molecules])[chosen])

    def failed(self, total: int) -> int:
        """How many of so many that did not pass the gate were drawn with these: like ones, told apart by a number."""
        if len(self.draws) == self.of:
            return total
        theirs = keys_of(f"{self.seed} failed {k}" for k in range(total))[:, 0]
        return int((theirs <= self.draws[-1:]).sum())

    def first(self, count: int) -> Subset:
        """The ``count`` of them that were drawn first."""
        order = np.argsort(self.draws, kind="stable")[:count]
        return Subset(count, self.seed, self.of, self.draws[order], self.molecules[order])


def part(molecules: Molecules, count: int) -> Molecules:
    """So many of them, or all if they are fewer; the same ones whatever their order."""
    return molecules if len(molecules) <= count else Subset(count, 0).add(molecules).molecules


def _draws(molecules: Molecules, seed: int) -> np.ndarray:
    """A hash of each molecule that its atoms' order, rotation and translation leave alone, [M]."""
    starts = molecules.offsets[:-1]
    if not len(starts):
        return np.zeros(0, np.uint64)
    # sum of squared distances over all pairs = n sum |x|^2 - |sum x|^2; a hundredth of a square angstrom tells it apart
    n = molecules.sizes[:, None]
    centred = molecules.pos - (np.add.reduceat(molecules.pos, starts) / n)[molecules.owner]
    spread = molecules.sizes * np.add.reduceat((centred**2).sum(1), starts)
    order = np.lexsort((molecules.numbers, molecules.owner))
    elements = molecules.numbers[order].astype(np.uint8).tobytes()
    at = molecules.offsets.tolist()
    texts = [f"{seed} {elements[low:high].hex()} {x:.2f}" for low, high, x in zip(at, at[1:], spread.tolist())]
    flat = np.flatnonzero(~molecules.has_pos)
    for k, graph in zip(flat.tolist(), _graphs(molecules[flat])):
        texts[k] += f" {graph}"
    return keys_of(texts)[:, 0]


def _graphs(molecules: Molecules) -> list[int]:
    """A hash of each molecule's graph, in which a chain of twenty atoms that differ in the middle is another."""
    hashes, whose = piece_hashes(molecules, molecules.bonds, molecules.bond_owner, far=12)
    total = np.zeros(len(molecules), np.uint64)
    np.add.at(total, whose, hashes)
    return total.tolist()
