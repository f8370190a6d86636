"""Molecules a second out of a data file and into one: python benchmarks/data.py [STORE] [--archive ARCHIVE].

Without a data file it makes one of QM9's sizes; without an archive, raw files of molecules in the data file given, or
in the small set.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, median_seconds, report

from molflow.chem.elements import SYMBOL
from molflow.data.loader import Loader
from molflow.data.qm9 import make_qm9
from molflow.data.store import Store, StoreWriter

SMALL = Path(__file__).resolve().parent.parent / "data" / "small.safetensors"
ALL = ("pos", "atom", "charge", "bond")


def qm9_like(path: Path, molecules: int = 130_000, seed: int = 0) -> Store:
    """Chains with as many atoms and bonds as QM9 has: only their sizes matter here."""
    rng = np.random.default_rng(seed)
    sizes = rng.normal(18.1, 3, molecules).round().clip(3, 29).astype(int)
    first = np.concatenate([np.arange(n - 1) for n in sizes])
    with StoreWriter(path, source="chains of QM9's sizes") as out:
        out.add_arrays(
            rng.normal(size=(sizes.sum(), 3)),
            sizes,
            numbers=rng.choice([1, 6, 7, 8], sizes.sum()),
            charges=np.zeros(sizes.sum()),
            bonds=np.stack([first, first + 1, np.ones(len(first))], 1),
            bond_counts=sizes - 1,
        )
    return Store(path)


def batches(store: Store, count: int, seed: int) -> list[dict]:
    """Random batches, each drawn anew."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in (64, 256, 1024):
        index = [rng.integers(0, len(store), size) for _ in range(count)]
        kinds = {"positions, numbers": ("pos", "atom"), "with charges and bonds": ALL}
        runs = {what: partial(_take, store, index, fields) for what, fields in kinds.items()}
        for what, seconds in median_seconds(runs).items():
            rows.append({"what": what, "batch": size, "molecules/s": size * count / seconds})
    return rows


def _take(store: Store, index: list[np.ndarray], fields: tuple[str, ...]) -> None:
    for chosen in index:
        store.batch(chosen, fields=fields)


def loading(store: Store, steps: int) -> dict:
    """What training sees: size buckets, bonds included."""
    loader = Loader(store, "all", fields=ALL)
    seen = sum(len(loader.at(step)) for step in range(steps))
    seconds = median_seconds({"loader": lambda: [loader.at(step) for step in range(steps)]})["loader"]
    return {"what": "loader, 20,000 pairs a batch", "batch": round(seen / steps), "molecules/s": seen / seconds}


def opening(store: Store) -> float:
    return median_seconds({"open": lambda: Store(store.path)}, repeats=50)["open"]


def raw_archive(store: Store, path: Path, molecules: int, seed: int) -> Path:
    """The store's molecules as raw files of QM9."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(store), min(molecules, len(store)), replace=False))
    with tarfile.open(path, "w:bz2") as tar:
        for index, molecule in zip(chosen, store.batch(chosen, fields=("pos", "atom"))):
            rows = [
                "\t".join([SYMBOL[z], *(f"{x:.10f}" for x in xyz), "0.0"])
                for z, xyz in zip(molecule.atom[0].tolist(), molecule.pos[0].tolist())  # type: ignore[index]
            ]
            head = f"gdb {index + 1}\t" + "\t".join(["1.0"] * 15)
            text = "\n".join([str(len(rows)), head, *rows, "1.0", "C\tC", "InChI=1S/\tInChI=1S/", ""]).encode()
            entry = tarfile.TarInfo(f"dsgdb9nsd_{index + 1:06d}.xyz")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return path


def parsing(archive: Path, folder: Path) -> list[dict]:
    rows = []
    for workers in (1, 2):
        start = time.perf_counter()
        summary = make_qm9(folder / "qm9.safetensors", archive, workers=workers, overwrite=True, progress=False)
        seconds = time.perf_counter() - start
        what = f"raw xyz, bonds perceived, {workers} process{'es' * (workers > 1)} ({len(summary.unread)} unread)"
        rows.append({"what": what, "molecules/s": summary.molecules / seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("store", nargs="?", type=Path, help="a data file; by default chains of QM9's sizes")
    parser.add_argument("--archive", type=Path, help="the raw archive of QM9; by default one is made")
    parser.add_argument("--count", type=int, default=100, help="random batches of each size")
    parser.add_argument("--molecules", type=int, default=4000, help="molecules of the archive that is made")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = Store(given.store) if given.store else qm9_like(folder / "chains.safetensors")
        rows = [*batches(store, given.count, given.seed), loading(store, given.count)]
        real = store if given.store else Store(SMALL)
        archive = given.archive or raw_archive(real, folder / "raw.tar.bz2", given.molecules, given.seed)
        rows += parsing(archive, folder)
        report(
            "data",
            rows,
            protocol=f"random batches of {store.meta['source']}, one thread, file in the page cache, medians of 5",
            n=len(store),
            seed=given.seed,
            note=f"opening takes {1000 * opening(store):.2f} ms; "
            f"padding of the loader {Loader(store, 'all').plan.padding():.2%} of pairs",
        )


if __name__ == "__main__":
    command(main)
