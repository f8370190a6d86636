"""``molflow data``: data sets made, imported and inspected."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molflow.data.store import Store


def qm9(
    *,
    out: str = "qm9.safetensors",
    from_: str | None = None,
    uncharacterized: str | None = None,
    aromatic: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> None:
    """Make the QM9 data set, fetched from where it is published or from its archive.

    Bonds and charges are perceived from the published geometries, the 3,054 uncharacterized molecules are left out, and
    train, validation and test are EDM's. What cannot be read is listed beside the output. Downloads lie beside the
    output too, resume where they broke off, and are used again.

    Args:
        out: the data file to write
        from_: dsgdb9nsd.xyz.tar.bz2, or a folder of its files, instead of the network
        uncharacterized: the published list of molecules to leave out; by default uncharacterized.txt beside the archive
        aromatic: keep aromatic bonds (order 4) instead of Kekule single and double ones
        overwrite: replace the output if it exists
        workers: processes that read molecules; by default one for each processor

    Examples:
        molflow data qm9 --out qm9.safetensors
        molflow data qm9 --from dsgdb9nsd.xyz.tar.bz2 --uncharacterized uncharacterized.txt --out qm9.safetensors
    """
    from molflow.data.qm9 import UNCHARACTERIZED, make_qm9

    summary = make_qm9(
        out,
        from_,
        uncharacterized,
        aromatic=aromatic,
        overwrite=overwrite,
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    print(f"{out}: {summary.molecules:,} molecules, {summary.split}")
    if summary.uncharacterized is None:
        print(
            "the uncharacterized molecules are among them: no list to leave them out was given. It is published as\n"
            f"  {UNCHARACTERIZED.urls[0]} ({UNCHARACTERIZED.size:,} bytes, MD5 {UNCHARACTERIZED.md5})\n"
            f"  and goes beside the archive as {UNCHARACTERIZED.name}, or is named by --uncharacterized"
        )
    else:
        print(f"{summary.uncharacterized:,} uncharacterized molecules left out")
    if summary.unread:
        print(f"{len(summary.unread):,} could not be read, listed in {summary.listing}; the first:")
        print(f"  {summary.unread[0][0]}: {summary.unread[0][1]}")


def toy(name: str, *, out: str, n: int = 10_000, points: str = "1", seed: int = 0, overwrite: bool = False) -> None:
    """Make a set of point clouds: a shape by name, or the points of an .npy or .npz file.

    With one point a cloud, a model learns the shape as a density; with many, it learns to make whole clouds. A file
    holds clouds [M, N, D], or single points [M, D] of which each --points make a cloud.

    Args:
        name: gaussians, moons, rings, swiss_roll or swiss_roll_2d; or an .npy or .npz file
        out: the data file to write
        n: how many clouds of a shape
        points: points of a cloud, such as 1, 50 or 20-40
        seed: of the random numbers
        overwrite: replace the output if it exists

    Examples:
        molflow data toy moons --out moons.safetensors
        molflow data toy rings --n 2000 --points 50-100 --out rings.safetensors
        molflow data toy mine.npy --out mine.safetensors
    """
    from molflow.build import UserError
    from molflow.data.toys import import_clouds, make_toy

    if Path(name).suffix in (".npy", ".npz"):
        if not points.isdecimal():
            raise UserError(f"--points: {points!r} is no number; the clouds of a file are all of one size")
        store = import_clouds(out, name, int(points), seed, overwrite)
    else:
        store = make_toy(out, name, n, points, seed, overwrite)
    smallest, largest = int(store.sizes.min()), int(store.sizes.max())
    span = "1 point" if largest == 1 else f"{smallest}{f'-{largest}' * (largest > smallest)} points"
    print(f"{out}: {len(store):,} clouds of {span} in {store.dim} dimensions")


def info(file: str, *, json_: bool = False, verify: bool = False) -> None:
    """Show what a data file holds: molecules, elements, bonds, splits, properties, and where it comes from.

    Args:
        file: the data file
        json_: print JSON instead of a table
        verify: also read everything and compare it with the checksum

    Examples:
        molflow data info qm9.safetensors
        molflow data info qm9.safetensors --json
    """
    from molflow.data.store import Store

    store = Store(file)
    if verify:
        store.verify()
    facts = gather(store)
    if json_:
        print(json.dumps({"file": str(file), **facts}, indent=2))
        return
    rows = [("file", str(file)), *table(facts), *([("checked", "the content has this checksum")] if verify else [])]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


def gather(store: Store) -> dict[str, Any]:
    """What ``info`` shows, for programs."""
    import numpy as np

    from molflow.chem.elements import SYMBOL
    from molflow.data.format import SPLITS
    from molflow.data.loader import BatchPlan

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
        "kinds": {_kind(*kind): count for kind, count in store.kind_counts.items()},
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
    yield (
        "scale",
        f"{facts['scale']:.4g} (standard deviation of a centred coordinate), {facts['dimensions']} dimensions",
    )
    yield "padding", f"{facts['padding']:.2%} of pairs in batches of 20,000"
    for name in ("source", "checksum", "created_by"):
        if facts[name]:
            yield name.replace("_", " "), facts[name]


def _kind(number: int, charge: int) -> str:
    from molflow.chem.vocabulary import kind_name

    return kind_name(number, charge)


def _range(values: Any) -> dict[str, Any]:
    import numpy as np

    known = values[~np.isnan(values)]
    spread = {"min": float(known.min()), "mean": float(known.mean()), "max": float(known.max())} if len(known) else {}
    return {"min": None, "mean": None, "max": None, **spread, "missing": int(len(values) - len(known))}


VERBS = {"qm9": qm9, "info": info, "toy": toy}
