"""What pairing noise with molecules costs, and what it saves: python benchmarks/couplings.py [--store STORE]."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import median_seconds, report

from molflow.batch import Batch
from molflow.couplings.align import Align
from molflow.couplings.coupling import Chain, transport_cost
from molflow.couplings.independent import Independent
from molflow.couplings.minibatch_ot import MinibatchOT
from molflow.data.store import Store
from molflow.geometry import centre
from molflow.priors.gaussian import Gaussian
from molflow.rng import Rng

SIZES = (15, 17, 19, 21)  # in the middle of each quarter of QM9's molecules
COUPLINGS = {
    "independent": Independent(),
    "align, permutation alone": Align(rotate=False),
    "align": Align(),
    "align, 2 rounds": Align(rounds=2),
    "minibatch_ot": MinibatchOT(),
    "minibatch_ot, align": Chain([MinibatchOT(), Align()]),
}


def pairs(size: int, count: int, store: Store | None, seed: int) -> tuple[Batch, Batch]:
    """Noise and molecules of one size, a batch as the loader gives it."""
    like = Batch.of_sizes([size] * count)
    if store is None:
        x1 = Gaussian("pos", 3, 1.4)(like, Rng.of(seed + 1, count))
    else:
        index = np.random.default_rng([seed, size]).choice(np.flatnonzero(store.sizes == size), count)
        x1 = store.batch(index, fields=("pos",))
        x1 = x1.replace(pos=centre(x1.pos, x1.mask))
    return Gaussian("pos", 3, 1.4)(like, Rng.of(seed, count)), x1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--store", type=Path, help="a data file; by default clouds as wide as QM9's molecules")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(given.store) if given.store else None

    rows = []
    for count in (64, 256):
        batches = [pairs(size, count, store, given.seed) for size in SIZES]
        rng = Rng.of(given.seed, count)
        atoms = count * sum(SIZES)
        runs = {
            (name, b): partial(coupling, *batch, rng)
            for b, batch in enumerate(batches)
            for name, coupling in COUPLINGS.items()
        }
        seconds = median_seconds(runs, given.rounds)  # type: ignore[arg-type]  # any key will do
        for name, coupling in COUPLINGS.items():
            taken = sum(seconds[name, b] for b in range(len(batches)))  # type: ignore[index]
            cost = sum(float(transport_cost(*coupling(*batch, rng)).sum()) for batch in batches)
            rows.append(
                {
                    "coupling": name,
                    "batch": count,
                    "us a molecule": 1e6 * taken / (count * len(SIZES)),
                    "travel, angstrom": (cost / atoms) ** 0.5,
                }
            )
    source = f"molecules of {store.path.name}" if store else "centred clouds"
    report(
        "couplings",
        rows,
        protocol=f"noise of sd 1.4 and {source}, batches of one size, of {', '.join(map(str, SIZES))} atoms; "
        f"one thread, interleaved, medians of {given.rounds}; travel is the root mean square over atoms",
        n=320 * len(SIZES),
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
