"""The scorer on real molecules: what each protocol says of QM9 itself, how fast it says so, and in how much memory.

    python benchmarks/scoring.py            # ceilings, speed beside plain loops, memory at 10,000 and 100,000
    python benchmarks/scoring.py --full     # and memory at 1,000,000

Reads qm9_hcno_dft.npz from the folder MOLFLOW_DATA, or ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report

from molflow.batch import Batch
from molflow.chem.elements import SYMBOL
from molflow.chem.read_arrays import load_npz
from molflow.evaluate import score
from molflow.metrics import PROTOCOLS
from molflow.metrics.edm import allowed_atoms, edm_bonds
from molflow.metrics.intake import of_arrays
from molflow.metrics.inventory import Inventory
from molflow.metrics.molecules import Molecules
from molflow.metrics.shard import protocol

ROOT = Path(__file__).resolve().parent.parent
QM9 = Path(os.environ.get("MOLFLOW_DATA", ROOT.parent / "shared" / "data")) / "qm9_hcno_dft.npz"
RATES = ("atom_stable", "molecule_stable", "valid", "connected", "unique", "novel")
BLOCK = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="memory at a million molecules too (some ten minutes)")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)  # score so many and print the peak memory
    arguments = parser.parse_args()
    if not QM9.exists():
        print(f"{QM9} is not here: set MOLFLOW_DATA to its folder")
        return
    if arguments.stream:
        print(streamed(arguments.stream))
        return
    molecules, split = loaded()
    ceilings(molecules, split)
    speed(molecules)
    memory([10_000, 100_000, *([1_000_000] if arguments.full else [])])


def loaded() -> tuple[Molecules, np.ndarray]:
    arrays = load_npz(QM9)
    assert arrays.split is not None
    return of_arrays(arrays, 0, len(arrays)), arrays.split


def blocks(molecules: Molecules) -> Iterator[Molecules]:
    return (molecules[low : low + BLOCK] for low in range(0, len(molecules), BLOCK))


def ceilings(molecules: Molecules, split: np.ndarray) -> None:
    rows, failures = [], {}
    training = {}
    for part, wanted in (("train", split == 0), ("held-out", split > 0)):
        tallies = dict.fromkeys(PROTOCOLS)
        for block in blocks(molecules[wanted]):
            for name, so_far in tallies.items():
                tally = protocol(name).measure(block)
                tallies[name] = tally if so_far is None else so_far + tally
        for name, tally in tallies.items():
            assert tally is not None
            rates = protocol(name).rates(tally, training.get(name, "it is the training set"))
            training.setdefault(name, tally.seen)
            shown = {rate: "-" if rates[rate].value is None else f"{100 * rates[rate].value:.2f}" for rate in RATES}
            rows.append({"molecules": part, "n": tally.n, "protocol": name, **shown})
            failures[f"{part} {name}"] = dict(tally.failures)
    report(
        "scoring_ceilings",
        rows,
        protocol="% of real molecules, QM9 without fluorine (H C N O), EDM's split; unique of valid, novel of unique",
        n=len(molecules),
        failures=failures,
    )


def speed(molecules: Molecules, count: int = 10_000) -> None:
    sys.path.append(str(ROOT / "tests" / "metrics"))
    from oracle import stability

    chosen = molecules[np.random.default_rng(0).permutation(len(molecules))[:count]]
    known = {name: protocol(name).measure(molecules[:BLOCK]).seen for name in ("edm", "strict")}  # imports, too

    def fast(parts: list[Molecules]) -> None:
        total, tallies = Inventory(), {}
        for part in parts:
            total += Inventory.of(part)
            for name in known:
                tally = protocol(name).measure(part)
                tallies[name] = tally if name not in tallies else tallies[name] + tally
        for name, tally in tallies.items():
            protocol(name).rates(tally, known[name])

    def stable(parts: list[Molecules]) -> None:
        for part in parts:
            bonds, owner = edm_bonds(part)
            part.per_molecule(allowed_atoms(part, bonds, owner))

    def loops(parts: list[Molecules]) -> None:
        for part in parts:
            for k in range(len(part)):
                atoms = slice(part.offsets[k], part.offsets[k + 1])
                stability([SYMBOL[z] for z in part.numbers[atoms].tolist()], part.pos[atoms])

    best = {run: min(cpu_seconds(run, chosen) for _ in range(3)) for run in (fast, stable, loops)}
    rows = [
        {"what": "stability, validity, connectivity, uniqueness, novelty by edm and strict", "cpu_s": best[fast]},
        {"what": "stability by edm alone", "cpu_s": best[stable], "times_faster": best[loops] / best[stable]},
        {
            "what": "the same in plain loops over pairs: tests/metrics/oracle.py",
            "cpu_s": best[loops],
            "times_faster": 1.0,
        },
    ]
    report("scoring_speed", rows, protocol="CPU seconds on one thread, best of three, QM9 molecules in memory", n=count)


def cpu_seconds(run: Callable[[list[Molecules]], None], molecules: Molecules) -> float:
    parts = list(blocks(molecules))  # made anew, as molecules remember what was read of them
    start = time.process_time()
    run(parts)
    return time.process_time() - start


def streamed(count: int) -> float:
    """Peak memory in MiB of a process that scores so many molecules, QM9 over and over, as they come."""
    arrays = load_npz(QM9)
    sizes, total = np.diff(arrays.offsets), len(arrays)

    def batch(rows: np.ndarray) -> Batch:
        import torch

        n = int(sizes[rows].max())
        mask = np.arange(n) < sizes[rows][:, None]
        at = np.where(mask, arrays.offsets[rows][:, None] + np.arange(n), 0)
        bond = np.zeros((len(rows), n, n), np.int64)
        assert arrays.bonds is not None and arrays.bond_offsets is not None and arrays.charges is not None
        for k, row in enumerate(rows.tolist()):
            i, j, order = arrays.bonds[arrays.bond_offsets[row] : arrays.bond_offsets[row + 1]].T.astype(np.int64)
            bond[k, i, j] = bond[k, j, i] = order
        numbers, charges = (torch.from_numpy(x[at].astype(np.int64) * mask) for x in (arrays.numbers, arrays.charges))
        pos = torch.from_numpy(arrays.positions[at] * mask[..., None])
        return Batch(pos, torch.from_numpy(mask), atom=numbers, charge=charges, bond=torch.from_numpy(bond))

    batches = (batch(np.arange(low, min(low + BLOCK, count)) % total) for low in range(0, count, BLOCK))
    found = score(batches, protocols=["edm", "strict"], rows=True)
    assert found.n == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(counts: list[int]) -> None:
    rows = []
    for count in counts:
        command = [sys.executable, __file__, "--stream", str(count)]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows.append({"molecules": count, "peak_mib": round(peak)})
    how = "peak memory of the process, edm and strict with rows, QM9 streamed over and over"
    report("scoring_memory", rows, protocol=how, n=counts[-1])


if __name__ == "__main__":
    command(main)
