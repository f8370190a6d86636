"""``molflow data``: data sets made, imported and inspected."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal


def qm9(
    *,
    out: str = "qm9.safetensors",
    from_: str | None = None,
    uncharacterized: str | None = None,
    elements: tuple[str, ...] = (),
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
        elements: keep molecules of these alone, such as H,C,N,O, which the QM9 models that ship know (default: all)
        aromatic: keep aromatic bonds (order 4) instead of Kekule single and double ones
        overwrite: replace the output if it exists
        workers: processes that read molecules; by default one for each processor

    Examples:
        molflow data qm9 --elements H,C,N,O --out qm9.safetensors
        molflow data qm9 --from dsgdb9nsd.xyz.tar.bz2 --uncharacterized uncharacterized.txt --out qm9.safetensors
    """
    from molflow.cli.outputs import check_data_file
    from molflow.data.qm9 import UNCHARACTERIZED, make_qm9
    from molflow.workers import check_workers

    check_workers(workers)
    check_data_file(out, [from_, uncharacterized], overwrite)
    summary = make_qm9(
        out,
        from_,
        uncharacterized,
        elements=elements,
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
    if summary.others:
        print(f"{summary.others:,} of other elements left out")
    if summary.unread:
        print(f"{len(summary.unread):,} could not be read, listed in {summary.listing}; the first:")
        print(f"  {summary.unread[0][0]}: {summary.unread[0][1]}")


def import_(
    files: list[str],
    *,
    out: str,
    split: Literal["given", "random", "train"] = "given",
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1),
    seed: int = 0,
    conformers: int = 1,
    props: list[str] | None = None,
    elements: tuple[str, ...] = (),
    aromatic: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    timeout: float = 60.0,
) -> None:
    """Make a data set of your own molecules: SDF, mol, xyz, extended xyz, SMILES, CSV with a SMILES column, npz.

    Files may be gzipped. SMILES are embedded in 3D (ETKDGv3, MMFF94s), xyz get their bonds and charges by perception,
    SDF and npz keep theirs. A record that cannot be taken is listed with its file and number, and stops nothing.

    Args:
        files: the files; a name may hold wildcards
        out: the data file to write
        split: given (as the files say, random where they do not), random, or train (no validation or test)
        fractions: of train, validation and test where the split is random
        seed: of the random split and of the embedding
        conformers: geometries made for each SMILES
        props: names of the properties to keep; by default all that are numbers
        elements: keep molecules of these alone, such as H,C,N,O (default: all)
        aromatic: keep aromatic bonds (order 4) instead of Kekule single and double ones
        strict: fail at the first record that cannot be taken
        overwrite: replace the output if it exists
        workers: processes; by default one for each processor
        timeout: seconds that one molecule may take

    Examples:
        molflow data import mine.sdf more.xyz.gz smiles.csv --out mine.safetensors
        molflow data import smiles.csv --conformers 5 --fractions 0.9,0.05,0.05 --out mine.safetensors
    """
    from molflow.build import UserError
    from molflow.cli.outputs import check_data_file
    from molflow.data.files import import_files
    from molflow.workers import check_workers

    check_workers(workers)
    if not 0 < timeout < float("inf"):
        raise UserError(f"--timeout must be above 0 and finite, not {timeout:g}")
    if not -(1 << 63) <= seed < 1 << 63:
        raise UserError(f"--seed must fit into 64 bits, and {seed} does not")
    check_data_file(out, files, overwrite)
    summary = import_files(
        files,
        out,
        split=split,
        fractions=fractions,
        seed=seed,
        conformers=conformers,
        props=props,
        elements=elements,
        aromatic=aromatic,
        workers=workers,
        timeout=timeout,
        strict=strict,
        overwrite=overwrite,
        progress=sys.stderr.isatty(),
    )
    print("\n".join(summary.lines()))


def toy(
    name: str,
    *,
    out: str,
    n: int | None = None,
    points: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Make a set of point clouds: a shape by name, or the points of an .npy or .npz file.

    With one point a cloud, a model learns the shape as a density; with many, it learns to make whole clouds. A file
    holds clouds [M, N, D], or single points [M, D] of which each --points make a cloud.

    Args:
        name: gaussians, moons, rings, swiss_roll or swiss_roll_2d; or an .npy or .npz file
        out: the data file to write
        n: how many clouds of a shape (default: 10000)
        points: points of a cloud, such as 1, 50 or 20-40 (default: 1)
        seed: of the random numbers
        overwrite: replace the output if it exists

    Examples:
        molflow data toy moons --out moons.safetensors
        molflow data toy rings --n 2000 --points 50-100 --out rings.safetensors
        molflow data toy mine.npy --out mine.safetensors
    """
    from molflow.build import UserError
    from molflow.cli.outputs import check_data_file
    from molflow.data.toys import import_clouds, make_toy

    is_file = Path(name).suffix in (".npy", ".npz")
    check_data_file(out, [name] if is_file else [], overwrite)
    if is_file:
        if n is not None:
            raise UserError("--n is of a shape; the clouds of a file are all taken")
        if points is not None and not points.isdecimal():
            raise UserError(f"--points: {points!r} is no number; the clouds of a file are all of one size")
        store = import_clouds(out, name, None if points is None else int(points), seed, overwrite)
    else:
        store = make_toy(out, name, 10_000 if n is None else n, points or 1, seed, overwrite)
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
    from molflow.atomic import finite
    from molflow.data.describe import gather, table
    from molflow.data.store import Store

    store = Store(file)
    if verify:
        store.verify()
    facts = gather(store)
    if json_:
        print(json.dumps(finite({"file": str(file), **facts}), indent=2, allow_nan=False))
        return
    checked = (
        "the content has this checksum"
        if "checksum" in store.meta
        else "every molecule; there is no checksum to compare"
    )
    rows = [("file", str(file)), *table(facts), *([("checked", checked)] if verify else [])]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


VERBS = {"qm9": qm9, "import": import_, "info": info, "toy": toy}
