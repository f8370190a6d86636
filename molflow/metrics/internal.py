"""Bond lengths, angles and torsions of many molecules at once, each with its type, such as ``C-C`` or ``H-N-C=O``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from molflow.chem.elements import SYMBOL

KINDS = ("bond", "angle", "torsion")
_SIGN = {1: "-", 2: "=", 3: "#", 4: ":"}


@dataclass(frozen=True)
class Internal:
    """One kind of coordinate: the atoms of each [K, 2, 3 or 4], and its type [K], the same read from either end."""

    atoms: np.ndarray
    types: np.ndarray

    def values(self, pos: np.ndarray) -> np.ndarray:
        """Lengths in angstrom, angles in degrees within [0, 180], torsions in degrees within (-180, 180], [K]."""
        x = [pos[column] for column in self.atoms.T]
        if len(x) == 2:
            return np.linalg.norm(x[1] - x[0], axis=1)
        if len(x) == 3:
            u, v = x[0] - x[1], x[2] - x[1]
            return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1)))
        a, b, c = x[1] - x[0], x[2] - x[1], x[3] - x[2]
        n, m = np.cross(a, b), np.cross(b, c)
        return np.degrees(np.arctan2((np.linalg.norm(b, axis=1)[:, None] * a * m).sum(1), (n * m).sum(1)))


def change(kind: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """|after - before|, for torsions the shorter way around."""
    d = np.abs(after - before)
    return np.minimum(d, 360 - d) if kind == "torsion" else d


def internals(numbers: np.ndarray, bonds: np.ndarray) -> dict[str, Internal]:
    """All bonds, all angles, and the torsions about rotatable bonds; ``numbers`` [A] are joined by ``bonds`` [E, 3].

    Rotatable: neither atom at the end of a chain or beside a triple bond, [!$(*#*)&!D1]~[!$(*#*)&!D1].
    """
    count = len(numbers)
    i, j, order = bonds.T
    ends, others, orders = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([order, order])
    degree = np.bincount(ends, minlength=count)
    sort = np.argsort(ends, kind="stable")
    slot = np.arange(len(ends)) - np.repeat(np.cumsum(degree) - degree, degree)
    width = int(degree.max(initial=0))
    near = np.full((count, width), -1)  # neighbours of each atom, -1 where there are no more
    near_order = np.zeros((count, width), np.int64)
    near[ends[sort], slot], near_order[ends[sort], slot] = others[sort], orders[sort]

    angles, angle_orders = [np.zeros((0, 3), np.int64)], [np.zeros((0, 2), np.int64)]
    centre = np.arange(count)
    for a, b in combinations(range(width), 2):
        have = near[:, b] >= 0  # neighbours fill from the left
        angles.append(np.stack([near[have, a], centre[have], near[have, b]], 1))
        angle_orders.append(np.stack([near_order[have, a], near_order[have, b]], 1))

    stiff = np.zeros(count, bool)
    stiff[ends[orders == 3]] = True
    free = (degree > 1) & ~stiff
    turning = free[i] & free[j]
    i, j, order = i[turning], j[turning], order[turning]
    torsions, torsion_orders = [np.zeros((0, 4), np.int64)], [np.zeros((0, 3), np.int64)]
    for a, b in product(range(width), repeat=2):
        first, last = near[i, a], near[j, b]
        have = (first >= 0) & (last >= 0) & (first != j) & (last != i) & (first != last)
        torsions.append(np.stack([first[have], i[have], j[have], last[have]], 1))
        torsion_orders.append(np.stack([near_order[i, a][have], order[have], near_order[j, b][have]], 1))

    found = {
        "bond": (bonds[:, :2], bonds[:, 2:]),
        "angle": (np.concatenate(angles), np.concatenate(angle_orders)),
        "torsion": (np.concatenate(torsions), np.concatenate(torsion_orders)),
    }
    return {kind: Internal(atoms, _types(numbers[atoms], orders)) for kind, (atoms, orders) in found.items()}


def _types(numbers: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """One integer for elements [K, n] and the orders [K, n - 1] between them, the smaller of its two readings."""

    def read(numbers: np.ndarray, orders: np.ndarray) -> np.ndarray:
        key = numbers[:, 0].astype(np.int64)
        for k in range(orders.shape[1]):
            key = (key * 16 + orders[:, k]) * 128 + numbers[:, k + 1]
        return key

    return np.minimum(read(numbers, orders), read(numbers[:, ::-1], orders[:, ::-1]))


def type_name(key: int) -> str:
    """``C-C=O`` for a type's number."""
    text = SYMBOL[key % 128]
    key //= 128
    while key:
        text = SYMBOL[(key // 16) % 128] + _SIGN.get(key % 16, "~") + text
        key //= 16 * 128
    return text
