"""Scores of a part of the molecules; the parts add up to the score of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molflow.build import build
from molflow.metrics import PROTOCOLS
from molflow.metrics.inventory import Inventory
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

    @classmethod
    def empty(cls, plan: Plan) -> Shard:
        return cls(Inventory(), {name: Tally() for name in plan.protocols}, Subset(plan.sample, plan.seed))

    def __add__(self, other: Shard) -> Shard:
        tallies = {name: tally + other.tallies[name] for name, tally in self.tallies.items()}
        return Shard(self.inventory + other.inventory, tallies, self.sample + other.sample)


def protocol(name: str) -> Protocol:
    """A protocol by its name."""
    return build("protocol", PROTOCOLS, name)


def score_block(plan: Plan, block: Block) -> tuple[Shard, str]:
    """The sums over one block, and its lines if they are wanted."""
    molecules = block.molecules
    verdicts = {name: protocol(name).judge(molecules) for name in plan.protocols}
    shard = Shard(
        Inventory.of(molecules),
        {name: Tally.of(verdict) for name, verdict in verdicts.items()},
        Subset(plan.sample, plan.seed).add(molecules),
    )
    return shard, lines(block.start, block.places, verdicts) if plan.rows else ""
