"""What pairing noise with molecules costs, and what it saves: python benchmarks/couplings.py [--store STORE].

Two tables: microseconds a molecule in batches of one size, and the share of a training step in the batches that a
configuration makes, where some molecules have nobody of their size to exchange noise with.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, median_seconds, report

from molflow.batch import Batch
from molflow.config import Config, read_config
from molflow.couplings.align import Align
from molflow.couplings.coupling import Chain, transport_cost
from molflow.couplings.independent import Independent
from molflow.couplings.minibatch_ot import MinibatchOT
from molflow.data.store import Store
from molflow.geometry import centre
from molflow.priors.gaussian import Gaussian
from molflow.rng import Rng
from molflow.training import Training

SIZES = (15, 17, 19, 21)  # in the middle of each quarter of QM9's molecules
COUPLINGS = {
    "independent": Independent(),
    "align, permutation alone": Align(rotate=False),
    "align": Align(),
    "align, 2 rounds": Align(rounds=2),
    "align, until the cost stops falling": Align(rounds=50),
    "minibatch_ot": MinibatchOT(),
    "minibatch_ot sinkhorn": MinibatchOT(method="sinkhorn"),
    "minibatch_ot unbalanced": MinibatchOT(method="unbalanced"),
    "minibatch_ot, align": Chain([MinibatchOT(), Align()]),
    "minibatch_ot aligned, align": Chain([MinibatchOT(aligned=True), Align()]),
    "minibatch_ot aligned group 32, align": Chain([MinibatchOT(aligned=True, group=32), Align()]),
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


def of_one_size(store: Store | None, rounds: int, seed: int) -> None:
    rows = []
    for count in (64, 256):
        batches = [pairs(size, count, store, seed) for size in SIZES]
        rng = Rng.of(seed, count)
        atoms = count * sum(SIZES)
        runs = {
            (name, b): partial(coupling, *batch, rng)
            for b, batch in enumerate(batches)
            for name, coupling in COUPLINGS.items()
        }
        seconds = median_seconds(runs, rounds, clock=time.process_time)
        for name, coupling in COUPLINGS.items():
            taken = sum(seconds[name, b] for b in range(len(batches)))
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
        f"CPU time of one thread, interleaved, medians of {rounds}; travel is the root mean square over atoms",
        n=320 * len(SIZES),
        seed=seed,
    )


def in_training(config: Config, batches: int, rounds: int) -> None:
    training = Training(config, Store(config.data.path))
    optimizer, loader = training.configure_optimizers(), training.loader()
    read = [loader.at(step) for step in range(batches)]
    rngs = [Rng.of(config.seed + step, len(batch)) for step, batch in enumerate(read)]
    paired = []
    for batch, rng in zip(read, rngs):
        x1 = training.model.vocabulary.encode(batch)
        x1 = x1.replace(pos=centre(x1.pos, x1.mask))
        paired.append((training.model.prior(x1, rng), x1, rng))
    runs = {(name, b): partial(COUPLINGS[name], *pair) for b, pair in enumerate(paired) for name in COUPLINGS}
    steps = {("step", b): partial(training.descend, optimizer, *pair) for b, pair in enumerate(zip(read, rngs))}
    seconds = median_seconds({**runs, **steps}, rounds, clock=time.process_time)
    step = sum(seconds["step", b] for b in range(batches))
    weights = sum(p.numel() for p in training.network.parameters())
    molecules, atoms = (sum(int(f(x1)) for _, x1, _ in paired) for f in (len, lambda x: x.mask.sum()))
    rows = []
    for name, coupling in COUPLINGS.items():
        taken = sum(seconds[name, b] for b in range(batches))
        figures = [coupling.report(*pair) for pair in paired]
        shares = [[v for key, v in f.items() if key.endswith("share with a partner")] for f in figures]
        cost = sum(float(transport_cost(*coupling(*pair)).sum()) for pair in paired)
        rows.append(
            {
                "coupling": name,
                "us a molecule": 1e6 * taken / molecules,
                "of a step, %": 100 * taken / step,
                "travel, angstrom": (cost / atoms) ** 0.5,
                "with a partner, %": 100 * sum(s[0] * len(x1) for s, (_, x1, _) in zip(shares, paired)) / molecules
                if all(shares)
                else "",
            }
        )
    report(
        "couplings_in_training",
        rows,
        protocol=f"the first {batches} batches of {Path(config.data.path).name} at {config.data.pairs:,} pairs; a step "
        f"of {weights:,} weights, coupling included, takes {1e3 * step / molecules:.3g} ms a molecule; CPU time of one "
        f"thread, interleaved, medians of {rounds}",
        n=molecules,
        seed=config.seed,
        step_seconds=step / batches,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--store", type=Path, help="a data file; by default clouds as wide as QM9's molecules")
    parser.add_argument("--config", default="configs/small.yaml", help="whose batches and training step are timed")
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    of_one_size(Store(given.store) if given.store else None, given.rounds, given.seed)
    overrides = {"data.path": str(given.store)} if given.store else {}
    in_training(read_config(given.config, overrides), given.batches, max(3, given.rounds // 5))


if __name__ == "__main__":
    command(main)
