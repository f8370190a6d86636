"""What each network costs on molecules of QM9's sizes: python benchmarks/networks.py [--store STORE].

A step is all that training does for a batch: noise, alignment, the network forward and backward, clipping, AdamW. The
headline is the ratio of such a step, per molecule, of EGNN at EDM's size to a dense network of 4-6 million parameters.
"""

from __future__ import annotations

import argparse
import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import command, median_seconds, report

from molflow.batch import Batch
from molflow.build import build
from molflow.chem.vocabulary import Vocabulary
from molflow.couplings.align import Align
from molflow.data.store import Store
from molflow.device import fast_matmul, saved_bytes
from molflow.networks import NETWORKS
from molflow.objectives.objective import Objective
from molflow.paths.joint import Joint
from molflow.paths.jump import Jump
from molflow.paths.linear import Linear
from molflow.priors.categorical import Uniform
from molflow.priors.gaussian import Gaussian
from molflow.priors.prior import Product
from molflow.rng import Rng
from molflow.times.beta import Beta

# molecules of 3, 4, ... 29 atoms in QM9's training set (mean 18.1)
HISTOGRAM = (
    "1 4 4 8 15 41 98 284 669 1462 2775 4840 7584 10502 12957 13321 13808 9466 9958 3391 4841 538 1506 48 266 0 25"
)
VOCABULARY = Vocabulary(("H", "C", "N", "O", "F", "N+", "O-"), bonds=(0, 1, 2, 3))

LARGE = {"name": "dense", "width": 256, "pair_width": 64, "vectors": 16, "layers": 8}
EDM = {"name": "egnn", "width": 256, "layers": 9}
RIVALS: dict[str, dict[str, Any]] = {
    "dense, default": {"name": "dense"},
    "dense, 256 x 8": LARGE,
    "egnn, 256 x 9 as EDM's": EDM,
    **{f"{name}, default": {"name": name} for name in sorted(set(NETWORKS) - {"dense", "egnn"})},
}


def sizes_of(counts: np.ndarray, quantiles: int) -> list[int]:
    """The sizes in the middle of each of so many equal parts of the molecules."""
    middles = (np.arange(quantiles) + 0.5) / quantiles
    return [int(size) for size in np.searchsorted(np.cumsum(counts) / counts.sum(), middles)]


def random_molecules(size: int, count: int, seed: int) -> Batch:
    """Atoms about as far apart as real ones, in a chain: what they are does not change what they cost."""
    random = np.random.default_rng([seed, size])
    pos = torch.from_numpy(1.4 * random.standard_normal((count, size, 3), np.float32))
    bond = torch.diag_embed(torch.ones(count, size - 1, dtype=torch.long), offset=1)
    atom = torch.from_numpy(random.integers(0, len(VOCABULARY.atoms), (count, size)))
    return Batch.of_points(pos).replace(atom=atom, bond=bond).tidy()


def workload(given: argparse.Namespace) -> tuple[list[Batch], Vocabulary, str]:
    """Batches of one size each, as the loader gives them."""
    if given.store is None:
        counts = np.array([0, 0, 0, *map(int, HISTOGRAM.split())])
        sizes = sizes_of(counts, given.batches)
        batches = [random_molecules(size, given.molecules, given.seed) for size in sizes]
        return batches, VOCABULARY, f"random molecules of QM9's sizes {sizes}"
    store = Store(given.store)
    vocabulary = Vocabulary.of(store.kinds(), store.bond_orders)
    sizes = sizes_of(np.bincount(store.sizes), given.batches)
    random = np.random.default_rng(given.seed)
    batches = []
    for size in sizes:
        index = random.choice(np.flatnonzero(store.sizes == size), given.molecules)
        batches.append(vocabulary.encode(store.batch(index, fields=("pos", "atom", "charge", "bond"))))
    return batches, vocabulary, f"molecules of {store.path.name} of sizes {sizes}"


class Trial:
    """A network with its optimiser, and what is measured of it."""

    def __init__(self, spec: dict[str, Any], classes: dict[str, int], seed: int):
        torch.manual_seed(seed)
        fields = {name: (count, count) for name, count in classes.items()}
        self.network = build("network", NETWORKS, spec, fields=fields, dim=3)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4, betas=(0.9, 0.99), weight_decay=0.01)
        self.prior = Product([Gaussian("pos", 3, 1.4), *(Uniform(name, count) for name, count in classes.items())])
        self.path = Joint({"pos": Linear(), **{name: Jump(count) for name, count in classes.items()}})
        self.seed = seed

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.network.parameters())

    def objective(self, hint: float) -> Objective:
        weights = {"pos": 1.0, "atom": 0.5, "bond": 0.5}
        return Objective(self.prior, Align(), self.path, Beta(2, 1), weights, hint=hint)

    @torch.no_grad()
    def forward(self, x: Batch) -> None:
        self.network(x, torch.full((len(x),), 0.5))

    def train(self, x: Batch, hint: float) -> None:
        objective = self.objective(hint)
        loss = objective.total(objective(self.network, x, Rng.of(self.seed, len(x))))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def saved_bytes(self, x: Batch) -> int:
        """Bytes that the forward pass keeps for the backward pass."""
        return saved_bytes(lambda: self.network(x, torch.full((len(x),), 0.5)), self.network.parameters())

    def recomputing(self) -> Trial | None:
        """The same network, which keeps less and computes it once more; none where it cannot."""
        if not hasattr(self.network, "recompute"):
            return None
        other = copy.deepcopy(self)
        other.network.recompute = True
        return other


def measure(trials: dict[str, Trial], batches: list[Batch], rounds: int) -> list[dict[str, Any]]:
    """One row a network, in milliseconds for each molecule."""
    molecules = sum(map(len, batches))
    ways = {
        "forward": lambda trial, x: trial.forward(x),
        "step": lambda trial, x: trial.train(x, 0.0),
        "step with hint": lambda trial, x: trial.train(x, 1.0),
    }
    runs = {
        (name, way, b): partial(run, trial, x)
        for b, x in enumerate(batches)
        for way, run in ways.items()
        for name, trial in trials.items()
    }
    seconds = median_seconds(runs, rounds)  # type: ignore[arg-type]  # any key will do

    rows = []
    for name, trial in trials.items():
        row: dict[str, Any] = {"network": name, "parameters": trial.parameters}
        for way in ways:
            taken = sum(seconds[name, way, b] for b in range(len(batches)))  # type: ignore[index]
            row[f"{way} ms"] = 1000 * taken / molecules
        row["saved MiB"] = sum(trial.saved_bytes(x) for x in batches) / molecules / 2**20
        recomputing = trial.recomputing()
        if recomputing:
            row["saved MiB, recomputing"] = sum(recomputing.saved_bytes(x) for x in batches) / molecules / 2**20
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--store", type=Path, help="a data file; by default random molecules of QM9's sizes")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each batch, after one that warms up")
    parser.add_argument("--batches", type=int, default=4, help="batches, at as many quantiles of the sizes")
    parser.add_argument("--molecules", type=int, default=64, help="molecules a batch")
    parser.add_argument("--only", nargs="+", choices=sorted(NETWORKS), help="these networks and no others")
    parser.add_argument("--matmul", choices=["fast", "default"], default="fast", help="fast: what training uses")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)

    batches, vocabulary, what = workload(given)
    rivals = {name: spec for name, spec in RIVALS.items() if not given.only or spec["name"] in given.only}
    trials = {name: Trial(spec, vocabulary.classes, given.seed) for name, spec in rivals.items()}
    if given.matmul == "fast":
        with fast_matmul():
            setting = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
            rows = measure(trials, batches, given.rounds)
    else:
        setting = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        rows = measure(trials, batches, given.rounds)

    steps = {row["network"]: row["step ms"] for row in rows}
    names = {spec["name"]: name for name, spec in RIVALS.items() if spec in (LARGE, EDM)}
    ratio = None
    if set(names.values()) <= set(steps):
        ratio = steps[names["egnn"]] / steps[names["dense"]]
    report(
        "networks" if given.matmul == "fast" else "networks-default-matmul",
        rows,
        protocol=f"{len(batches)} batches of {given.molecules} {what}, each batch of one size; per molecule, "
        f"one thread, float32, interleaved, medians of {given.rounds}; mkldnn.matmul.fp32_precision = {setting!r}; "
        "a step is noise, alignment, forward, backward, clipping and AdamW; "
        "with hint: after a forward pass without gradient",
        n=sum(map(len, batches)),
        seed=given.seed,
        note=f"a training step of egnn at EDM's size costs {ratio:.2f} times that of dense, 256 x 8" if ratio else "",
        save=not given.only,
        sizes=[x.mask.shape[1] for x in batches],
        keywords=rivals,
        matmul_fp32_precision=setting,
        egnn_over_dense=ratio,
    )


if __name__ == "__main__":
    command(main)
