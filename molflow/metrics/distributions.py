"""Wasserstein distances to the training molecules, each with its floor: held-out molecules against the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from molflow.chem.elements import SYMBOL
from molflow.metrics.graph import sum_at_atoms
from molflow.metrics.internal import internals, type_name
from molflow.metrics.measurement import How, Measurement, Reference, lacking
from molflow.metrics.molecules import AROMATIC, Molecules
from molflow.metrics.relaxation import perceived_orders
from molflow.metrics.subset import part

_UNITS = {"bond": "angstrom", "angle": "degree", "torsion": "degree"}

Values = dict[str, np.ndarray]  # by type


class Distributions(Measurement):
    """W1 of bond lengths and angles by type, torsions by type on the circle, valencies by element, sizes, ring counts.

    For a kind with several types, their mean weighted by how often each occurs in training. All from equal numbers of
    molecules; of each set, those that sanitise.
    """

    name = "distributions"
    tier = "fast"
    section = "distributions"
    wants_reference = True
    summary = (
        "Wasserstein distances of bonds, angles, torsions, valencies, sizes, rings; floor: held-out against training"
    )
    denominator = "molecules of the sample that sanitise; types that one side lacks are listed, and not in the mean"
    source = "Vignac et al. 2023 (MiDi), with floors"

    def figures(self, sample: Molecules, reference: Reference | None, how: How) -> dict[str, Any]:
        why = lacking(sample, reference)
        if reference is None or why:
            return {"not_measured": why}
        count = min(map(len, (sample, reference.train, reference.held_out or sample)))
        ours, train = observed(part(sample, count)), observed(part(reference.train, count))
        if not train["size"]:
            return {"not_measured": "no molecule of the reference has bonds that can be read"}
        floor = observed(part(reference.held_out, count)) if len(reference.held_out) else None
        out: dict[str, Any] = {"molecules": count, "sanitised": len(ours["size"].get("atoms", ()))}
        for kind in train:
            out[kind] = {"unit": _UNITS.get(kind, "1"), **compared(kind, ours[kind], train[kind])}
            held = compared(kind, floor[kind], train[kind]) if floor is not None else {"distance": None}
            out[kind]["floor"] = held["distance"]
        return out


def observed(molecules: Molecules) -> dict[str, Values]:
    """What occurs in the molecules that sanitise: {kind: {type: values}}."""
    molecules = molecules[molecules.generated.usable & molecules.has_pos]
    mols = [mol for mol in molecules.generated.mols if mol is not None]
    bonds = molecules.bonds.copy()
    orders = [perceived_orders(molecules, k) for k in range(len(molecules))]
    bonds[:, 2] = np.concatenate([np.zeros(0, np.int64), *orders])
    valence = sum_at_atoms(molecules, bonds, molecules.bond_owner, np.where(bonds[:, 2] == AROMATIC, 1.5, bonds[:, 2]))
    bonds[:, :2] += molecules.offsets[molecules.bond_owner][:, None]
    found = {}
    for kind, internal in internals(molecules.numbers, bonds).items():
        found[kind] = _by(internal.types, internal.values(molecules.pos), type_name)
    found["valency"] = _by(molecules.numbers, valence, lambda number: SYMBOL[number])
    rings = np.array([mol.GetRingInfo().NumRings() for mol in mols], np.int64)
    found["size"] = {"atoms": molecules.sizes} if mols else {}
    found["rings"] = {"rings": rings} if mols else {}
    return found


def _by(types: np.ndarray, values: np.ndarray, name) -> Values:
    order = np.argsort(types, kind="stable")
    kinds, starts = np.unique(types[order], return_index=True)
    return {name(kind): part for kind, part in zip(kinds.tolist(), np.split(values[order], starts[1:]))}


def compared(kind: str, ours: Values, train: Values) -> dict[str, Any]:
    """The mean distance over the types that both have, weighted by how common each is in training, and what is left."""
    distance = circular_distance if kind == "torsion" else _distance
    common = {name: distance(ours[name], train[name]) for name in train if name in ours}
    weight = {name: len(train[name]) for name in train}
    total = sum(weight[name] for name in common)
    mean = sum(weight[name] * d for name, d in common.items()) / total if total else None
    return {
        "distance": mean,
        "types": len(common),
        "coverage": total / sum(weight.values()) if weight else None,
        "missing": {name: count for name, count in weight.items() if name not in ours},
        "unseen_in_training": {name: len(values) for name, values in ours.items() if name not in train},
    }


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(a, b))


def circular_distance(a: np.ndarray, b: np.ndarray, period: float = 360.0) -> float:
    """min over c of the integral over the circle of |F_a(x) - F_b(x) - c| dx (Rabin, Delon & Gousseau 2011).

    >>> circular_distance(np.array([179.0]), np.array([-179.0]))
    2.0
    """
    x = np.concatenate([a, b]) % period
    step = np.concatenate([np.full(len(a), 1 / len(a)), np.full(len(b), -1 / len(b))])
    order = np.argsort(x, kind="stable")
    gap = np.diff(x[order], append=x[order[0]] + period)  # after each point, the last around the circle
    difference = np.cumsum(step[order])
    sort = np.argsort(difference, kind="stable")
    half = np.searchsorted(np.cumsum(gap[sort]), period / 2)
    median = difference[sort][min(half, len(sort) - 1)]
    return float((gap * np.abs(difference - median)).sum())
