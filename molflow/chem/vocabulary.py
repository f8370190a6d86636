"""Labels as chemists write them <-> class indices as networks use them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.elements import NUMBER, SYMBOL


@dataclass(frozen=True)
class Vocabulary:
    """The kinds of atom, the charges and the bond orders a model knows.

    An atom kind is an element with its formal charge, ``C``, ``N+`` or ``O-``: one label, so that no step of sampling
    can pair an element with another's charge. With ``charges`` given, charge is a field of its own and the kinds are
    neutral.

    >>> Vocabulary(("H", "C", "N", "N+"), bonds=(0, 1, 2, 3)).classes
    {'atom': 4, 'bond': 4}
    """

    atoms: tuple[str, ...] = ()
    charges: tuple[int, ...] = ()
    bonds: tuple[int, ...] = ()

    def __post_init__(self):
        for what, labels in (("atoms", self.kinds), ("charges", self.charges), ("bonds", self.bonds)):
            if len(set(labels)) < len(labels):
                raise UserError(f"a vocabulary names each label once, but its {what} are {getattr(self, what)}")
        if self.charges and any(charge for _, charge in self.kinds):
            raise UserError(f"with charges a field of their own, atom kinds are neutral: not {self.atoms}")

    @property
    def classes(self) -> dict[str, int]:
        """Classes of each label field in use."""
        counts = {"atom": len(self.atoms), "charge": len(self.charges), "bond": len(self.bonds)}
        return {name: count for name, count in counts.items() if count}

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """(atomic number, formal charge) of each atom kind."""
        return [parse_kind(kind) for kind in self.atoms]

    @classmethod
    def of(
        cls, pairs: Sequence[tuple[int, int]], bonds: Sequence[int] = (), separate_charge: bool = False
    ) -> Vocabulary:
        """From the (atomic number, formal charge) pairs and bond orders that occur in a data set."""
        bonds = tuple(sorted({0, *bonds})) if bonds else ()
        if separate_charge:
            charges = tuple(sorted({q for _, q in pairs}))
            return cls(tuple(SYMBOL[z] for z in sorted({z for z, _ in pairs})), charges, bonds)
        ordered = sorted(set(pairs), key=lambda pair: (pair[1] != 0, pair[0], pair[1]))  # neutral kinds first
        return cls(tuple(kind_name(z, q) for z, q in ordered), (), bonds)

    def beyond(self, other: Vocabulary) -> list[str]:
        """The labels of this one that the other does not know, as words.

        >>> Vocabulary(("H", "C", "F"), bonds=(0, 1, 2)).beyond(Vocabulary(("H", "C", "N"), bonds=(0, 1)))
        ['F', 'bonds of order 2']
        """
        atoms = [kind for kind in self.atoms if kind not in other.atoms]
        charges = [f"charges of {charge:+}" for charge in self.charges if charge not in other.charges]
        bonds = [f"bonds of order {order}" for order in self.bonds if order not in other.bonds]
        return [*atoms, *charges, *bonds]

    def joined(self, other: Vocabulary) -> Vocabulary:
        """These labels, which keep their places, and those of the other that are new.

        >>> Vocabulary(("H", "C"), bonds=(0, 1)).joined(Vocabulary(("C", "F"), bonds=(0, 1, 2)))
        Vocabulary(atoms=('H', 'C', 'F'), charges=(), bonds=(0, 1, 2))
        """
        parts = ((getattr(self, name), getattr(other, name)) for name in ("atoms", "charges", "bonds"))
        return Vocabulary(*(tuple(dict.fromkeys([*ours, *theirs])) for ours, theirs in parts))

    def encode(self, batch: Batch) -> Batch:
        """Class indices in the place of labels; fields outside the vocabulary are dropped."""
        changes: dict[str, Tensor | None] = {"atom": None, "charge": None, "bond": None}
        if self.atoms:
            if batch.atom is None:
                raise UserError("the model generates elements, but these molecules carry none")
            charge = batch.charge if batch.charge is not None and not self.charges else torch.zeros_like(batch.atom)
            keys = [_key(z, q) for z, q in self.kinds]
            changes["atom"] = _lookup(_key(batch.atom, charge), keys, batch.mask, "atom kind (number, charge)", _unkey)
        if self.charges:
            charge = batch.charge if batch.charge is not None else torch.zeros_like(batch.mask, dtype=torch.long)
            changes["charge"] = _lookup(charge, list(self.charges), batch.mask, "formal charge")
        if self.bonds:
            if batch.bond is None:
                raise UserError("the model generates bonds, but these molecules carry none")
            changes["bond"] = _lookup(batch.bond, list(self.bonds), batch.pair_mask, "bond order")
        return batch.replace(**changes)

    def decode(self, batch: Batch) -> Batch:
        """Labels in the place of class indices, or of the likeliest class of a distribution."""
        changes: dict[str, Tensor] = {}

        def read(value: Tensor, axes: int, table: Sequence[int], mask: Tensor) -> Tensor:
            index = value.argmax(-1) if value.ndim > axes else value
            labels = torch.tensor(table, device=value.device)
            return labels[index.long().clamp(max=len(table) - 1)].masked_fill(~mask, 0)

        if self.atoms and batch.atom is not None:
            changes["atom"] = read(batch.atom, 2, [z for z, _ in self.kinds], batch.mask)
            if not self.charges:
                changes["charge"] = read(batch.atom, 2, [q for _, q in self.kinds], batch.mask)
        if self.charges and batch.charge is not None:
            changes["charge"] = read(batch.charge, 2, self.charges, batch.mask)
        if self.bonds and batch.bond is not None:
            changes["bond"] = read(batch.bond, 3, self.bonds, batch.pair_mask)
        return batch.replace(**changes)


def kind_name(number: int, charge: int) -> str:
    """``kind_name(7, 1) == 'N+'``; larger charges carry their size: ``S+2``."""
    size = "" if abs(charge) < 2 else str(abs(charge))
    return SYMBOL[number] + ("+" if charge > 0 else "-" if charge < 0 else "") + size


def parse_kind(kind: str) -> tuple[int, int]:
    match = re.fullmatch(r"([A-Z][a-z]?)(?:([+-])([1-9]\d*)?)?", kind)
    if not match or match[1] not in NUMBER:
        raise UserError(f"{kind!r} is no atom kind: write an element and its charge, such as C, N+ or S-2")
    return NUMBER[match[1]], int((match[2] or "") + (match[3] or "1")) if match[2] else 0


def _key(number, charge):
    return number * 64 + (charge + 32)


def _unkey(key: int) -> str:
    return kind_name(key // 64, key % 64 - 32)


def _lookup(value: Tensor, table: list[int], mask: Tensor, what: str, name: Callable[[int], str] = str) -> Tensor:
    """Positions of the values in the table; 0 outside the mask; a value the table lacks is an error."""
    keys, order = torch.tensor(table, device=value.device).sort()
    value = value.long().masked_fill(~mask, int(table[0]))
    at = torch.searchsorted(keys, value).clamp(max=len(table) - 1)
    missing = keys[at] != value
    if bool(missing.any()):
        found = sorted({name(int(v)) for v in value[missing].unique()})
        raise UserError(f"{what} {', '.join(found)} is not in the model's vocabulary: {', '.join(map(name, table))}")
    return order[at].masked_fill(~mask, 0)
