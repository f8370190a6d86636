"""A protocol: a verdict on each molecule, a tally of verdicts that adds up, and rates with their denominators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from molflow.metrics.inventory import Inventory
from molflow.metrics.keys import KeySet, keys_of
from molflow.metrics.molecules import Molecules
from molflow.metrics.rate import Rate


@dataclass(frozen=True)
class Verdicts:
    """What a protocol says of each of M molecules."""

    atoms: np.ndarray  # [M]
    stable_atoms: np.ndarray  # [M]
    stable: np.ndarray  # [M] bool
    valid: np.ndarray  # [M] bool
    connected: np.ndarray  # [M] bool
    reasons: list[str]  # the first thing wrong with it, or an empty text
    smiles: list[str]  # of the valid ones
    identities: list[str]  # what uniqueness and novelty compare, of the valid ones


@dataclass(frozen=True)
class Tally:
    """Verdicts summed up; the tally of two shards together is ``a + b``, exactly."""

    n: int = 0
    atoms: int = 0
    stable_atoms: int = 0
    stable: int = 0
    valid: int = 0
    connected: int = 0
    complete: int = 0  # valid and connected
    failures: Counter = field(default_factory=Counter)  # {reason: molecules}
    seen: KeySet = field(default_factory=KeySet)  # of the valid ones

    @classmethod
    def of(cls, verdicts: Verdicts) -> Tally:
        texts = [text for text, valid in zip(verdicts.identities, verdicts.valid.tolist()) if valid]
        return cls(
            n=len(verdicts.atoms),
            atoms=int(verdicts.atoms.sum()),
            stable_atoms=int(verdicts.stable_atoms.sum()),
            stable=int(verdicts.stable.sum()),
            valid=int(verdicts.valid.sum()),
            connected=int(verdicts.connected.sum()),
            complete=int((verdicts.valid & verdicts.connected).sum()),
            failures=Counter(reason for reason in verdicts.reasons if reason),
            seen=KeySet(keys_of(texts)),
        )

    def __add__(self, other: Tally) -> Tally:
        counts = {k: getattr(self, k) + getattr(other, k) for k in _COUNTS}
        return Tally(**counts, failures=self.failures + other.failures, seen=self.seen | other.seen)


NO_REFERENCE = "no reference was given"
_COUNTS = ("n", "atoms", "stable_atoms", "stable", "valid", "connected", "complete")


class Protocol(ABC):
    """One way of the field to call a molecule stable and valid."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]  # coordinates, bonds
    summary: ClassVar[str]  # what it counts, in a line
    source: ClassVar[str]
    defect: ClassVar[str]
    unique_of: ClassVar[Literal["valid", "all"]] = "valid"  # what unique and novel are divided by

    @abstractmethod
    def judge(self, molecules: Molecules) -> Verdicts:
        """A verdict on each molecule."""

    @abstractmethod
    def bonds(self, molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
        """The bonds that it judges, [E, 3], and the molecule of each, [E]."""

    def measure(self, molecules: Molecules) -> Tally:
        """The verdicts, summed up."""
        return Tally.of(self.judge(molecules))

    def inapplicable(self, inventory: Inventory) -> str:
        """Why these molecules cannot be judged this way, or an empty text."""
        return inventory.lack(*self.needs)

    def rates(self, tally: Tally, training: KeySet | str = NO_REFERENCE) -> dict[str, Rate]:
        """Every rate by name; novelty needs the keys of the training molecules, or says why there are none."""
        distinct, of_all = len(tally.seen), self.unique_of == "all"
        if isinstance(training, str):
            novel = Rate(0, 0, note=training)
        else:
            novel = Rate(tally.seen.count_missing_from(training), tally.n if of_all else distinct)
        return {
            "atom_stable": Rate(tally.stable_atoms, tally.atoms),
            "molecule_stable": Rate(tally.stable, tally.n),
            "valid": Rate(tally.valid, tally.n),
            "connected": Rate(tally.connected, tally.n),
            "unique": Rate(distinct, tally.n if of_all else tally.valid),
            "valid_unique": Rate(distinct, tally.n),
            "novel": novel,
        }

    def denominators(self) -> dict[str, str]:
        """What each rate is a share of."""
        unique = "all molecules" if self.unique_of == "all" else "valid molecules"
        novel = "all molecules" if self.unique_of == "all" else "unique molecules"
        out = dict.fromkeys(self.rates(Tally()), "all molecules")
        return out | {"atom_stable": "atoms of all molecules", "unique": unique, "novel": novel}


def first_of(*candidates: Sequence[str]) -> list[str]:
    """For each molecule the first reason that is not an empty text."""
    return [next(filter(None, reasons), "") for reasons in zip(*candidates)]


def where(flags: np.ndarray, reason: str) -> list[str]:
    """The reason for the molecules that are flagged, and an empty text for the others."""
    return [reason if flag else "" for flag in flags.tolist()]
