"""The scorer on real molecules: what each protocol says of QM9 itself, how fast it says so, and in how much memory.

    python benchmarks/scoring.py --data qm9.safetensors            # and memory at 10,000 and 100,000
    python benchmarks/scoring.py --data qm9.safetensors --full     # and at 1,000,000

`molflow data qm9 --elements H,C,N,O --out qm9.safetensors` makes the file.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, report

from molflow.chem.elements import SYMBOL
from molflow.data.store import Store
from molflow.evaluate import score
from molflow.metrics import PROTOCOLS
from molflow.metrics.edm import allowed_atoms, edm_bonds
from molflow.metrics.intake import of_batch
from molflow.metrics.inventory import Inventory
from molflow.metrics.molecules import Molecules
from molflow.metrics.shard import protocol

ROOT = Path(__file__).resolve().parent.parent
FIELDS = ("pos", "atom", "charge", "bond")
RATES = ("atom_stable", "molecule_stable", "valid", "connected", "unique", "novel")
BLOCK = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="QM9, as molflow data qm9 makes it")
    parser.add_argument("--full", action="store_true", help="memory at a million molecules too (some ten minutes)")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)  # score so many and print the peak memory
    arguments = parser.parse_args()
    store = Store(arguments.data)
    if arguments.stream:
        print(streamed(store, arguments.stream))
        return
    molecules = Molecules.cat([of_batch(store.batch(some, fields=FIELDS)) for some in places(len(store), len(store))])
    ceilings(molecules, store.split)
    speed(molecules)
    memory(arguments.data, [10_000, 100_000, *([1_000_000] if arguments.full else [])])


def places(count: int, total: int) -> Iterator[np.ndarray]:
    """Blocks of so many places, those of a store over and over."""
    return (np.arange(low, min(low + BLOCK, count)) % total for low in range(0, count, BLOCK))


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


def streamed(store: Store, count: int) -> float:
    """Peak memory in MiB of a process that scores so many molecules, QM9 over and over, as they come."""
    batches = (store.batch(some, fields=FIELDS) for some in places(count, len(store)))
    found = score(batches, protocols=["edm", "strict"], rows=True)
    assert found.n == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(data: str, counts: list[int]) -> None:
    rows = []
    for count in counts:
        command = [sys.executable, __file__, "--data", data, "--stream", str(count)]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows.append({"molecules": count, "peak_mib": round(peak)})
    how = "peak memory of the process, edm and strict with rows, QM9 streamed over and over"
    report("scoring_memory", rows, protocol=how, n=counts[-1])


if __name__ == "__main__":
    command(main)
