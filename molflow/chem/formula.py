"""Formulas: how many atoms of each element."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from molflow.build import UserError
from molflow.chem.elements import NUMBER, SYMBOL

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def spell(counts: Mapping[int, int]) -> str:
    """Carbon first, then hydrogen, then by symbol.

    >>> spell({1: 6, 8: 1, 6: 2})
    'C2H6O'
    """
    named = {SYMBOL[number]: count for number, count in counts.items() if count}
    first = [symbol for symbol in ("C", "H") if symbol in named]
    order = [*first, *sorted(set(named) - set(first))]
    return "".join(symbol + (str(named[symbol]) if named[symbol] > 1 else "") for symbol in order)


def parse(text: str) -> Counter[int]:
    """{atomic number: atoms}.

    >>> parse("C2H6O")[1]
    6
    """
    pieces = re.findall(r"([A-Z][a-z]?)(\d*)", text)
    if not text or "".join(map("".join, pieces)) != text or any(symbol not in NUMBER for symbol, _ in pieces):
        raise UserError(f"{text!r} is no formula; write elements and their numbers, such as C2H6O")
    counts: Counter[int] = Counter()
    for symbol, number in pieces:
        counts[NUMBER[symbol]] += int(number or 1)
    return counts


def formula_of(mol: Mol | None) -> Counter[int]:
    """{atomic number: atoms} of a molecule, with the hydrogens that a SMILES does not write."""
    if mol is None:
        return Counter()
    try:
        mol.UpdatePropertyCache(strict=False)
    except RuntimeError:  # a charge that no atom has, such as H+2
        return Counter()
    counts = Counter(atom.GetAtomicNum() for atom in mol.GetAtoms())
    counts[1] += sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())  # those that are no atoms
    return counts
