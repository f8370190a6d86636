"""What a data file holds, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from molflow.chem.elements import SYMBOL
from molflow.chem.vocabulary import kind_name
from molflow.data.format import SPLITS
from molflow.data.loader import BatchPlan
from molflow.data.store import Store


def gather(store: Store) -> dict[str, Any]:
    """What a data file holds, as plain numbers and texts."""
    sizes, counts = np.unique(store.sizes, return_counts=True)
    elements: dict[str, int] = {}
    for (number, _), count in store.kind_counts.items():
        elements[SYMBOL[number]] = elements.get(SYMBOL[number], 0) + count
    units = json.loads(store.meta.get("units", "{}"))
    return {
        "molecules": len(store),
        "atoms": int((sizes * counts).sum()),
        "dimensions": store.dim,
        "sizes": dict(zip(map(str, sizes.tolist()), counts.tolist())),
        "elements": elements,
        "kinds": {kind_name(*kind): count for kind, count in store.kind_counts.items()},
        "bonds": {str(order): count for order, count in store.bond_counts.items()},
        "splits": {name: int((store.split == number).sum()) for number, name in enumerate(SPLITS)},
        "properties": {name: {**_range(store.props(name)), "unit": units.get(name)} for name in store.prop_names},
        "scale": store.scale(),
        "padding": BatchPlan(store.sizes).padding(),
        **{name: store.meta.get(name) for name in ("source", "checksum", "version", "created_by")},
    }


def table(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts as lines to read."""

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)

    sizes = list(map(int, facts["sizes"]))
    mean = facts["atoms"] / facts["molecules"]
    yield "molecules", f"{facts['molecules']:,}" if facts["elements"] else f"{facts['molecules']:,} clouds of points"
    yield "sizes", f"{min(sizes)} to {max(sizes)}, mean {mean:.1f}; {facts['atoms']:,} in all"
    if facts["elements"]:
        yield "elements", listed(facts["elements"])
        charged = {kind: count for kind, count in facts["kinds"].items() if kind[-1] in "+-0123456789"}
        yield "charged", listed(charged) or "none"
    if facts["bonds"]:
        names = {"1": "single", "2": "double", "3": "triple", "4": "aromatic"}
        yield "bonds", listed({str(names.get(order, order)): count for order, count in facts["bonds"].items()})
    yield "splits", listed(facts["splits"])
    for name, values in facts["properties"].items():
        unit = f" {values['unit']}" if values["unit"] else ""
        missing = f", {values['missing']:,} missing" if values["missing"] else ""
        span = "no values" if values["min"] is None else f"{values['min']:.6g} to {values['max']:.6g}{unit}"
        yield name, f"{span}{missing}"
    yield "dimensions", str(facts["dimensions"])
    yield "scale", f"{facts['scale']:.4g}, the standard deviation of a centred coordinate"
    yield "padding", f"{facts['padding']:.2%} of pairs in batches of 20,000"
    for name in ("source", "checksum", "created_by"):
        if facts[name]:
            yield name.replace("_", " "), facts[name]


def _range(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    spread = {"min": float(known.min()), "mean": float(known.mean()), "max": float(known.max())} if len(known) else {}
    return {"min": None, "mean": None, "max": None, **spread, "missing": int(len(values) - len(known))}
