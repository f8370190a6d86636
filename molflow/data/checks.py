"""What no reader could use, found before it is written, or in a file that another program wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from molflow.build import UserError
from molflow.data.format import BOND_ORDERS, SPLITS


def check_molecules(
    sizes: np.ndarray, columns: Mapping[str, np.ndarray], bond_counts: np.ndarray, split: np.ndarray, first: int = 0
) -> None:
    """Refuse molecules that cannot be, naming one, counted from ``first``."""
    for molecule, why in impossible(sizes, columns, bond_counts, split):
        raise UserError(f"molecule {first + molecule}: {why}")


def impossible(
    sizes: np.ndarray, columns: Mapping[str, np.ndarray], bond_counts: np.ndarray, split: np.ndarray
) -> Iterator[tuple[int, str]]:
    """(molecule, why) for each that cannot be; one may come several times.

    ``columns`` are flat: positions [A, D], and where there are some numbers [A], charges [A] and bonds [E, 3].
    """
    everyone = np.arange(len(sizes))

    def named(bad: np.ndarray, owner: np.ndarray, why: str) -> list[tuple[int, str]]:
        return [(molecule, why) for molecule in np.unique(owner[bad]).tolist()] if bad.any() else []

    yield from named(sizes < 1, everyone, "no atoms")
    yield from named((split < 0) | (split >= len(SPLITS)), everyone, "split is not 0, 1 or 2 (train, validation, test)")
    owner = np.repeat(everyone, np.maximum(sizes, 0))
    for name in ("positions", "numbers", "charges"):
        if name in columns and len(columns[name]) != len(owner):
            yield 0, f"{len(columns[name])} {name} for {len(owner)} atoms"
            return
    yield from named(~np.all(np.isfinite(columns["positions"]), axis=1), owner, "a coordinate is not a finite number")
    if "numbers" in columns:
        numbers = columns["numbers"]
        yield from named((numbers < 1) | (numbers > 118), owner, "an atomic number outside 1-118")
    if "charges" in columns:
        yield from named(np.abs(columns["charges"].astype(np.int64)) > 31, owner, "a formal charge beyond 31")
    if "bonds" in columns:
        owner = np.repeat(everyone, np.maximum(bond_counts, 0))
        if len(columns["bonds"]) != len(owner):
            yield 0, f"{len(columns['bonds'])} bonds where their counts add up to {len(owner)}"
            return
        i, j, order = columns["bonds"].astype(np.int64).T
        largest = np.minimum(sizes, 1 << 16)[owner]
        absent = (np.minimum(i, j) < 0) | (np.maximum(i, j) >= largest)
        yield from named(absent, owner, "a bond to an atom that is not there")
        yield from named(i == j, owner, "a bond of an atom with itself")
        yield from named(~np.isin(order, BOND_ORDERS), owner, "a bond order that is not 1, 2, 3 or 4 (aromatic)")
        pair = (owner << 32) + (np.minimum(i, j) << 16) + np.maximum(i, j)
        repeat = np.ones(len(pair), bool)
        repeat[np.unique(pair, return_index=True)[1]] = False
        yield from named(repeat, owner, "two bonds between the same atoms")
