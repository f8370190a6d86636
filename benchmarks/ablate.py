"""One change at a time, judged by samples: python benchmarks/ablate.py --data qm9.safetensors [--only ARM ...].

Each arm is configs/qm9_cpu.yaml with a few keys changed, trained from nothing on equally many molecules; samples of its
averaged weights are scored. An arm that changes ``sample.*`` alone samples the base trained with the same seed.
How far off the predicted endpoint is at given times compares arms more sharply than samples do; ``--errors`` adds it
to rows that lack it, from the runs that are kept, and measures other models beside them: ``--errors qm9``.
The results file is written after every arm and seed; what stands in it is not run again. Several processes may share
it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import RESULTS, command, median_seconds, report
from held_out import HeldOut
from variety import variety

import molflow
from molflow.build import UserError, resolve
from molflow.checkpoint import read_card
from molflow.config import Config, read_config
from molflow.data.store import Store
from molflow.device import fast_matmul
from molflow.rng import Rng
from molflow.run import Run
from molflow.sampling import Sampling
from molflow.solvers import SOLVERS
from molflow.training import Training, fit

ROOT = Path(__file__).resolve().parent.parent
BASE = "base"
ARMS: dict[str, list[str]] = {  # the base is what every other arm changes further
    BASE: ["train.optimizer=muon", "sample.valences=0"],  # labels drawn apart, as in all rows that are kept
    "adamw": ["train.optimizer=adamw"],
    "adamw, lr 12e-3": ["train.optimizer=adamw", "train.lr=12e-3"],
    "triangles": ["network.triangles=16"],
    "lr 3e-3": ["train.lr=3e-3"],
    "lr 12e-3": ["train.lr=12e-3"],
    "batches of 8,000 pairs": ["data.pairs=8000"],
    "batches of 30,000 pairs": ["data.pairs=30000"],
    "uniform times": ["times=uniform"],
    "logit-normal times, mean 0.5": ["times={name: logit_normal, mean: 0.5}"],
    "loss weight capped at 25": ["path.pos={name: linear, cap: 25}"],
    "loss weight capped at 1000": ["path.pos={name: linear, cap: 1000}"],
    "coordinates weighed as noise": ["path.pos={name: linear, weigh: noise, cap: 400}", "loss.weights.pos=4.0"],
    "distances 0.1": ["loss.weights.distances=0.1"],
    "distances 0.5": ["loss.weights.distances=0.5"],
    "no hint": ["loss.hint=0"],
    "hint in nine of ten": ["loss.hint=0.9"],
    "independent coupling": ["coupling=[independent]"],
    "permutation alone": ["coupling=[{name: align, rotate: false}]"],
    "rotation alone": ["coupling=[{name: align, permute: false}]"],
    "mask jumps": ["prior.atom=mask", "prior.bond=mask"],
    "one-hot labels": ["path.atom=one_hot", "path.bond=one_hot", "prior.atom=gaussian", "prior.bond=gaussian"],
    "no bonds": ["data.fields=[pos, atom]"],
    "labels weigh as coordinates": ["loss.weights.atom=1.0", "loss.weights.bond=1.0"],
    "ema 0.99": ["train.ema=0.99"],
    "cosine decay": ["train.decay=cosine"],
    "marginal noise": ["prior.atom=marginal", "prior.bond=marginal"],
    "labels lead": ["path.atom={name: jump, lead: 2}", "path.bond={name: jump, lead: 2}"],
    "noise mixed in": ["path.pos={name: interpolant, noise: 1}"],
    "aromatic bonds": ["data.path={data}_aromatic.safetensors"],  # by molflow data qm9 --aromatic
    "radial 32": ["network.radial=32"],
    "pair width 24": ["network.pair_width=24"],
    "pair width 64": ["network.pair_width=64"],
    "vectors 5": ["network.vectors=5"],
    "bf16": ["train.precision=bf16"],
    "told a census": ["network.census=true"],
    "192 x 6": ["network.width=192", "network.pair_width=48", "network.layers=6"],
    "192 x 8": ["network.width=192", "network.pair_width=48", "train.lr=4.0e-3"],
    "96 x 12": ["network.width=96", "network.pair_width=32", "network.layers=12"],
    "heads 4": ["network.heads=4"],
    "heads 16": ["network.heads=16"],
    "warmup 0.01": ["train.warmup=0.01"],
    "clip 0.3": ["train.clip=0.3"],
    "clip 10": ["train.clip=10"],
    "beta2 0.999": ["train.beta2=0.999"],
    "weight decay 0": ["train.weight_decay=0"],
    "linear grid": ["sample.grid=linear"],
    "midpoint": ["sample.solver=midpoint"],
}
TIMES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)  # at which the errors are measured
HELD_OUT = 500  # molecules to measure them on
PLACES = (0.2, 0.4, 0.6, 0.8)  # of the timed batches in order of their cost


def overridden(given: argparse.Namespace, arm: str, seed: int) -> Config:
    """The configuration of an arm: the file, the length of an ablation, then what the arm changes."""
    store = Store(given.data)
    epochs = given.molecules / len(store.indices("train"))
    common = ["train.validate=1", "train.samples=0", "train.device=cpu", f"train.epochs={epochs}"]
    changes = [text.replace("{data}", str(given.data.with_suffix(""))) for text in (*ARMS[BASE], *ARMS[arm])]
    pairs = [text.partition("=") for text in [*common, f"seed={seed}", *changes]]
    return read_config(given.config, {"data.path": str(given.data)} | {key: value for key, _, value in pairs})


def only_samples(arm: str) -> bool:
    return all(text.startswith("sample.") for text in ARMS[arm])


def sampling(config: Config) -> str:
    """How samples are drawn, in words: rows that differ in it compare in their losses and errors alone."""
    how = config.sample
    told = f"{how.solver}, {how.grid} grid, haste {how.haste:g}, composition {how.composition:g}"
    return told + (f", valences {how.valences:g}" if how.valences else "")


def folder_of(given: argparse.Namespace, arm: str, seed: int) -> Path:
    return given.runs / f"{arm.replace(' ', '_')}-{given.molecules}-{seed}"


def run(given: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """Train, unless that was done, then sample and score."""
    config = overridden(given, arm, seed)
    trained = BASE if only_samples(arm) else arm
    folder = folder_of(given, trained, seed)
    if (folder / "model.safetensors").exists():
        check_same(folder, overridden(given, trained, seed))
    else:
        fit(overridden(given, trained, seed), folder, overwrite=True, progress=False)
    last = [row for row in Run(folder).read_metrics() if row["val_loss"]][-1]
    model = molflow.load(folder, device="cpu")
    model.defaults = config.sample
    row: dict[str, Any] = {
        "arm": arm,
        "seed": seed,
        "sampling": sampling(config),
        "overrides": ARMS[arm],
        "molecules": int(last["molecules"]),
        "steps": int(last["step"]),
        "train seconds": float(last["seconds"]),
        "revision": json.loads((folder / "origin.json").read_text()).get("revision", ""),
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "n": given.n,
        "sampling seed": given.sampling_seed,
        **{key: round(float(last[key]), 4) for key in last if key.startswith("val_") and last[key]},
        "errors": errors(overridden(given, trained, seed), folder),
    }
    per_step = resolve(SOLVERS[str(config.sample.solver)]).evaluations
    for evaluations in sorted(given.evaluations):
        batch = model.sample(given.n, seed=given.sampling_seed, steps=evaluations // per_step)
        scores = molflow.score(batch, protocols=["edm", "strict"], tier="protocols", rows=False)
        rates = {
            "edm atoms": scores["edm"].atom_stable,
            "edm molecules": scores["edm"].molecule_stable,
        }
        if not scores["strict"].inapplicable:  # as without bonds
            rates["strict valid"] = scores["strict"].valid
        row[str(evaluations)] = {name: [rate.count, rate.of, *(rate.ci95 or ())] for name, rate in rates.items()}
        row["variety"] = variety(batch.to_rdkit())  # of the most evaluations
    return row


def check_same(folder: Path, config: Config) -> None:
    """That a run that is kept was trained as is asked now; how it is sampled, and where its data lie, may differ."""
    before, now = (
        replace(each, sample=Sampling(), data=replace(each.data, path="")).to_dict()
        for each in (read_config(folder / "config.yaml"), config)
    )
    if changed := [key for key in now if now[key] != before[key]]:
        raise UserError(f"{folder} was trained with another {', '.join(changed)}: move it away, or give other --runs")


@torch.no_grad()
def errors(config: Config, source: str | Path, seed: int = 0) -> dict[str, list[float]]:
    """Of the endpoint that a trained model predicts, from a hint if it reads
    such, at TIMES, on the same held-out molecules and noise.

    Coordinates: root mean square, angstrom. Labels: cross-entropy, of an atom and of the bonds for an atom. They do not
    depend on how an arm weights its losses or draws its times; with another path or noise they compare with nothing.
    """
    every = Store(config.data.path).indices("val")
    index = every[:: max(1, len(every) // HELD_OUT)][:HELD_OUT]  # of all rows that are kept; of QM9 without its end
    held_out = HeldOut(source, config.data.path, HELD_OUT, config, index)
    model = held_out.model
    network, path = model.network.eval(), model.path
    found: dict[str, list[float]] = {}
    for at in TIMES:
        sums: dict[str, float] = defaultdict(float)
        for x0, x1, rng in held_out.pairs(seed):
            t, x = torch.full((len(x1),), at), held_out.noised(x0, x1, at, rng)
            with fast_matmul():
                pred = network(x, t)
                if model.hinted:
                    pred = network(x, t, hint=path.endpoint(pred, x, t))
            off = (path.endpoint(pred, x, t)["pos"] - x1.pos).square().mean(-1).masked_fill(~x1.mask, 0)
            for name, each in {**path.loss(pred, x, x1, t), "pos": off.sum(1) / x1.sizes}.items():
                sums[name] += float(each.sum())
        for name, total in sums.items():
            mean = total / len(held_out)
            found.setdefault(name, []).append(round(mean**0.5 if name == "pos" else mean, 4))
    return found


def timed(given: argparse.Namespace, arm: str) -> float:
    """CPU time a molecule of a training step of this arm over that of the base, steps in turns."""
    runs: dict[Any, Callable[[], Any]] = {}
    counts: dict[str, int] = {}
    for name in (BASE, arm):
        training = Training(overridden(given, name, 0), Store(given.data))
        optimizer = training.configure_optimizers()
        for group in optimizer.param_groups:
            group["lr"] = 1e-6
        loader = training.loader()
        sizes = loader.store.sizes[loader.index]
        batches = sorted(loader.plan.epoch(0), key=lambda batch: len(batch) * int(sizes[batch].max()) ** 2)
        full = [batch for batch in batches if len(set(sizes[batch].tolist())) == 1]
        full.sort(key=lambda batch: int(sizes[batch[0]]))
        for place in PLACES:
            index = loader.index[full[round(place * (len(full) - 1))]]
            batch = training.store.batch(index, fields=training.fields_read)
            counts[name] = counts.get(name, 0) + len(batch)
            for hint in (0.0, 1.0):
                runs[name, place, hint] = partial(step, training, optimizer, batch, hint)
    seconds = median_seconds(runs, given.repeats, clock=time.process_time)
    shares = {name: overridden(given, name, 0).loss.hint for name in (BASE, arm)}
    each = {
        name: sum(
            seconds[name, place, hint] * (shares[name] if hint else 1 - shares[name])
            for place in PLACES
            for hint in (0.0, 1.0)
        )
        / counts[name]
        for name in (BASE, arm)
    }
    return each[arm] / each[BASE]


def step(training: Training, optimizer: Any, batch: molflow.Batch, hint: float) -> None:
    training.objective.hint = hint
    training.descend(optimizer, batch, Rng(0, torch.arange(len(batch))))


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is printed: percentages of all samples, one line an arm and seed."""
    lines = []
    for row in rows:
        line = {key: row[key] for key in ("arm", "seed", "molecules", "sampling", "cost", "val_loss")}
        for evaluations in (key for key in row if key.isdecimal()):
            for name, (count, of, *_) in row[evaluations].items():
                line[f"{name} @{evaluations}"] = round(100 * count / of, 1)
        if wrong := row.get("errors"):
            middle = TIMES.index(0.4)
            line |= {f"{name} off at {TIMES[middle]}": each[middle] for name, each in wrong.items()}
        seen = row.get("variety", {})
        lines.append(line | {key: seen[key] for key in ("rings", "aromatic", "N", "heavy sd") if key in seen})
    return lines


def kept(what: str = "arms") -> Any:
    """The rows that have been measured, or the errors of models."""
    path = RESULTS / "ablate.json"
    known = json.loads(path.read_text()) if path.exists() else {"arms": []}
    return known.get(what, {})


def write(given: argparse.Namespace, rows: Sequence[dict[str, Any]], models: Mapping[str, Any] | None = None) -> None:
    report(
        "ablate",
        shown(rows),
        protocol="configs/qm9_cpu.yaml with one change an arm, each trained from nothing; samples of the "
        "averaged weights on the quadratic grid unless the arm says otherwise, percent; cost: CPU seconds a "
        f"molecule of a training step over those of the base, one thread, medians of {given.repeats} in turns; off: "
        f"errors of the endpoint predicted at given times for {HELD_OUT:,} held-out molecules (pos: angstrom)",
        n=given.n,
        seed=given.sampling_seed,
        times=TIMES,
        arms=rows,
        models=kept("models") if models is None else models,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="QM9 as made by molflow data qm9")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "qm9_cpu.yaml")
    parser.add_argument(
        "--only", nargs="+", choices=list(ARMS), default=list(ARMS), metavar="ARM", help="; ".join(ARMS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--molecules", type=int, default=45_000, help="that each arm sees")
    parser.add_argument("--n", type=int, default=300, help="samples")
    parser.add_argument("--sampling-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--repeats", type=int, default=5, help="turns of the timing")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablate", help="run folders, kept")
    parser.add_argument(
        "--errors",
        nargs="*",
        metavar="MODEL",
        help="train nothing: measure the errors of rows without them, and of these models",
    )
    given = parser.parse_args()
    torch.set_num_threads(1)

    if given.errors is not None:
        rows, models = kept(), kept("models")
        for row in rows:
            mine = row["arm"] in ARMS and row["molecules asked"] == given.molecules
            folder = folder_of(given, row["arm"], row["seed"])
            if mine and "errors" not in row and folder.exists():
                row["errors"] = errors(overridden(given, row["arm"], row["seed"]), folder)
        for name in given.errors:
            config = read_card(name).config
            config = replace(config, data=replace(config.data, path=str(given.data)))
            models[Path(name).name] = errors(config, name)
        write(given, rows, models)
        return
    keys = ("arm", "seed", "molecules asked", "sampling", "n", "sampling seed")
    done = {tuple(row.get(key, 0) for key in keys) for row in kept()}  # rows of before have the sampling seed 0
    for arm in given.only:
        cost = 1.0 if arm == BASE or only_samples(arm) else None
        for seed in given.seeds:
            how = sampling(overridden(given, arm, seed))
            if (arm, seed, given.molecules, how, given.n, given.sampling_seed) in done:
                continue
            started = time.perf_counter()
            row = run(given, arm, seed)
            cost = cost or timed(given, arm)
            row |= {"molecules asked": given.molecules, "cost": round(cost, 3)}
            row |= {"seconds": round(time.perf_counter() - started)}
            rows = [*kept(), row]  # read anew: another process may have added its own meanwhile
            write(given, rows)


if __name__ == "__main__":
    command(main)
