"""Scores of a part of the molecules; the parts add up to the score of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from molflow.build import build
from molflow.metrics import PROTOCOLS
from molflow.metrics.graph import piece_hashes
from molflow.metrics.inventory import Inventory
from molflow.metrics.keys import KeySet
from molflow.metrics.molecules import Molecules
from molflow.metrics.protocol import Protocol, Tally
from molflow.metrics.rows import lines
from molflow.metrics.subset import Subset


@dataclass(frozen=True)
class Plan:
    """What is asked of every block of molecules."""

    protocols: tuple[str, ...]
    sample: int = 0  # molecules kept for the measurements that are too dear for all
    seed: int = 0
    rows: bool = False  # a line for each molecule
    graphs: bool = False  # keep the hashes of the molecules' graphs, by what a protocol reads bonds from
    like: Mapping[str, np.ndarray] | None = None  # judge those alone that have a graph among these


@dataclass(frozen=True)
class Block:
    """Molecules in a row of the input, the first of which is number ``start``."""

    molecules: Molecules
    start: int
    places: Sequence[tuple[str, int]]  # (file, record) of each


@dataclass(frozen=True)
class Shard:
    """The sums over a part of the molecules."""

    inventory: Inventory
    tallies: dict[str, Tally]
    sample: Subset
    graphs: dict[str, KeySet]  # {coordinates, bonds: hashes}

    @classmethod
    def empty(cls, plan: Plan) -> Shard:
        return cls(Inventory(), {name: Tally() for name in plan.protocols}, Subset(plan.sample, plan.seed), {})

    def __add__(self, other: Shard) -> Shard:
        tallies = {name: tally + other.tallies[name] for name, tally in self.tallies.items()}
        graphs = {
            kind: self.graphs.get(kind, KeySet()) | other.graphs.get(kind, KeySet())
            for kind in self.graphs.keys() | other.graphs.keys()
        }
        return Shard(self.inventory + other.inventory, tallies, self.sample + other.sample, graphs)


_NONE = np.zeros(0, np.uint64)


def protocol(name: str) -> Protocol:
    """A protocol by its name."""
    return build("protocol", PROTOCOLS, name)


def score_block(plan: Plan, block: Block) -> tuple[Shard, str]:
    """The sums over one block, and its lines if they are wanted."""
    molecules = block.molecules
    judges = {name: protocol(name) for name in plan.protocols}
    readings = {judge.needs[0]: judge for judge in judges.values()}  # bonds given, or bonds from coordinates
    hashes, judged = {}, dict.fromkeys(readings, molecules)
    if plan.graphs or plan.like is not None:
        hashes = {kind: piece_hashes(molecules, *judge.bonds(molecules)) for kind, judge in readings.items()}
    if plan.like is not None:
        judged = {kind: _alike(molecules, *found, plan.like.get(kind, _NONE)) for kind, found in hashes.items()}
    verdicts = {name: judge.judge(judged[judge.needs[0]]) for name, judge in judges.items()}
    shard = Shard(
        Inventory.of(molecules),
        {name: Tally.of(verdict) for name, verdict in verdicts.items()},
        Subset(plan.sample, plan.seed).add(molecules),
        {kind: KeySet(np.stack([found, found], 1)) for kind, (found, _) in hashes.items()} if plan.graphs else {},
    )
    return shard, lines(block.start, block.places, verdicts) if plan.rows else ""


def _alike(molecules: Molecules, hashes: np.ndarray, whose: np.ndarray, wanted: np.ndarray) -> Molecules:
    """The molecules that have a piece with one of the wanted hashes."""
    return molecules[np.unique(whose[np.isin(hashes, wanted)])]
