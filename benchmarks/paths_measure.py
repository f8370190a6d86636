"""What is measured of a trained cell: quality against evaluations, transport, straightness, determinism."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paths_plan import Way

import molflow
from molflow.analysis.straightness import straightness
from molflow.batch import Batch
from molflow.build import build
from molflow.couplings.coupling import transport_cost
from molflow.data.store import Store
from molflow.device import fast_matmul
from molflow.generate import Model
from molflow.geometry import sum_squares
from molflow.rng import Rng
from molflow.solvers import SOLVERS
from molflow.solvers.integrate import integrate
from molflow.solvers.schedule import grid
from molflow.training.module import Training

SEED = 7  # of the samples, the same for all systems


def steps_of(way: Way, evaluations: int) -> int:
    return evaluations // (build("solver", SOLVERS, way.solver).evaluations or 1)


def quality(model: Model, way: Way, evaluations: int, n: int, data: Path, seed: int = SEED) -> dict[str, Any]:
    """Figures of ``n`` samples, and the seconds of the processor that sampling took."""
    began = time.process_time()
    made = model.sample(n, seed=seed, steps=steps_of(way, evaluations), solver=way.solver, grid=way.grid)
    seconds = time.process_time() - began
    return {"n": n, "cpu": round(seconds, 3), **figures(made, data)}


def figures(made: Batch, data: Path) -> dict[str, Any]:
    """W2 to held-out points; or counts of molecules by protocol."""
    if made.atom is None:
        return {"w2": round(wasserstein(made.pos.flatten(0, 1).numpy(), held_out(data)[: len(made)]), 5)}
    scores = molflow.score(made, protocols=["edm", "strict"], tier="protocols", rows=False)
    edm, strict = scores["edm"], scores["strict"]
    rates = {
        "edm atom": edm.atom_stable,
        "edm molecule": edm.molecule_stable,
        "edm valid unique": edm.valid_unique,
        "strict valid": strict.valid,
        "strict valid unique": strict.valid_unique,
    }
    return {name: round(rate.count / rate.of, 4) for name, rate in rates.items()}


@cache
def held_out(data: Path, split: str = "test") -> np.ndarray:
    store = Store(data)
    return store.batch(store.indices(split)).pos.flatten(0, 1).numpy()


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """W2, exact: the root of the least mean squared distance over all pairings."""
    import ot

    weights = [np.full(len(points), 1 / len(points)) for points in (a, b)]
    return float(ot.emd2(*weights, ot.dist(a.astype(float), b.astype(float)), numItermax=2_000_000)) ** 0.5


def floor(data: Path, n: int, draws: int = 5) -> list[float]:
    """W2 of training points to held-out ones: what no sampler can be expected to beat."""
    train = held_out(data, "train")
    parts = [train[k * n : (k + 1) * n] for k in range(min(draws, len(train) // n))]
    return [round(wasserstein(part, held_out(data)[:n]), 5) for part in parts]


def noise(model: Model, n: int, seed: int) -> Batch:
    ids = np.arange(n)
    return model.prior(
        Batch.of_sizes(torch.as_tensor(model.sizes.at(seed, ids)), model.dim), Rng(seed, torch.arange(n))
    )


@torch.no_grad()
def carry(model: Model, x0: Batch, way: Way, steps: int, seed: int) -> Batch:
    """From given noise to its sample; ``seed`` is that of the chance on the way."""
    flow = model.flow()
    solver = build("solver", SOLVERS, way.solver)
    with fast_matmul():
        return integrate(flow, x0, grid(way.grid, steps), solver, Rng(seed, torch.arange(len(x0))))


def travel(training: Training, batches: int = 20) -> dict[str, float]:
    """The transport cost of the training pairs: angstrom^2 an atom, its root, and the seconds a pairing takes."""
    costs, atoms, seconds, loader = 0.0, 0, 0.0, training.loader()
    for step in range(batches):
        x1 = training.model.vocabulary.encode(loader.at(step))
        began = time.process_time()
        x0, x1 = training.objective.pair(x1, Rng(SEED + step, torch.arange(len(x1))))
        seconds += time.process_time() - began
        costs, atoms = costs + float(transport_cost(x0, x1).sum()), atoms + int(x1.sizes.sum())
    cost = costs / atoms
    return {"cost": round(cost, 4), "way": round(cost**0.5, 4), "ms": round(1000 * seconds / batches, 2)}


def straight(model: Model, n: int = 64, steps: int = 100) -> dict[str, float]:
    """How a sample's coordinates get to their place: ``bend`` and ``detour`` are 0 where they go straight.

    ``bend`` asks for even motion too, ``detour`` only for the line; ``way``: the root of the mean square, an atom.
    """
    found = straightness(model, n, steps=steps, grid="linear", seed=SEED)
    figures = {"bend": found.value, "bend error": found.error, "detour": found.detour - 1, "way": found.transport**0.5}
    return {name: round(value, 4) for name, value in figures.items()}


def determinism(model: Model, way: Way, n: int = 64, steps: int = 20, small: float = 1e-3) -> dict[str, Any]:
    """Of samples from one noise: run again; with chance on the way from another seed; with the noise a little moved.

    Distances are roots of mean squares over atoms, ``other noise`` that of unrelated samples; labels count as changed
    where a molecule has any label that differs.
    """
    ids = torch.arange(n)
    x0 = noise(model, n, SEED)
    moved = x0.replace(pos=x0.pos + small * model.prior(x0, Rng(SEED + 1, ids)).pos)
    first = carry(model, x0, way, steps, SEED)

    def apart(other: Batch) -> float:
        return float(sum_squares(other.pos - first.pos, x0.mask).sum() / x0.mask.sum()) ** 0.5

    near = carry(model, moved, way, steps, SEED)
    each = (sum_squares(near.pos - first.pos, x0.mask) / sum_squares(moved.pos - x0.pos, x0.mask)).sqrt()
    changed = torch.zeros(n, dtype=torch.bool)
    for name in first.fields:
        if name != "pos":
            changed |= (getattr(near, name) != getattr(first, name)).flatten(1).any(1)
    return {
        "same seed": apart(carry(model, x0, way, steps, SEED)),
        "other chance": round(apart(carry(model, x0, way, steps, SEED + 1)), 4),
        "other noise": round(apart(carry(model, model.prior(x0, Rng(SEED + 2, ids)), way, steps, SEED)), 4),
        "stretch median": round(float(each.median()), 4),
        "stretch 90 %": round(float(each.quantile(0.9)), 4),
        "labels changed": round(float(changed.float().mean()), 4),
    }
