"""Training one cell: the same steps for every system, judged on the way, timed in seconds of the processor."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from molflow.checkpoint import load, save
from molflow.config import Config
from molflow.couplings.reflow import Reflow
from molflow.data.store import Store
from molflow.data.writer import StoreWriter
from molflow.generate import Model
from molflow.rng import Rng, seed_of
from molflow.training.module import Training

_STREAM = 1  # of the training noise, a function of (seed, step)
PAIR_SEED = 12345  # of the noise that pairs are made from


def train(
    config: Config,
    judge: Callable[[Model], dict[str, Any]],
    points: tuple[float, ...],
    teacher: Path | None = None,
    pairs: Path | None = None,
) -> tuple[Training, dict[str, Any]]:
    """The trained cell and its record; what ``judge`` takes is not counted.

    With a ``teacher`` it starts from the teacher's weights and learns the ``pairs`` that the teacher has made.
    """
    training = Training(config, Store(config.data.path))
    if teacher is not None and pairs is not None:
        training.network.load_state_dict(load(teacher, device="cpu").network.state_dict())
        training.average.load_state_dict(training.network.state_dict())
        training.store = Store(pairs)
        training.objective.coupling = Reflow(training.model.prior, PAIR_SEED)
    optimizer: Any = training.configure_optimizers()
    steps = config.train.steps or 1
    marks = {max(1, round(share * steps)) for share in points}
    seconds, molecules, curve = 0.0, 0, []
    for step, batch in training.loader():
        began = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, config)
        training.descend(optimizer, batch, Rng(seed_of(config.seed, _STREAM, step), torch.arange(len(batch))))
        training.update_average(step)
        seconds, molecules = seconds + time.process_time() - began, molecules + len(batch)
        if step + 1 in marks:
            training.model.network = training.average
            curve.append({"step": step + 1, "seconds": round(seconds, 2), **judge(training.model)})
            training.model.network = training.network
        if step + 1 == steps:
            break
    training.model.network = training.average
    weights = sum(weight.numel() for weight in training.network.parameters())
    record = {"steps": steps, "seconds": round(seconds, 2), "examples": molecules, "parameters": weights}
    return training, record | {"curve": curve}


def learning_rate(step: int, steps: int, config: Config) -> float:
    """A linear warm-up, then linearly to zero, as ``molflow train`` has it."""
    warmup = max(1, round(config.train.warmup * steps))
    return config.train.lr * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def keep(training: Training, config: Config, folder: Path) -> None:
    save(folder, training.average.state_dict(), config, training.facts, {})


def peak_memory(config: Config, steps: int = 40) -> float:
    """MiB that training adds to a process's peak; run it in a process of its own."""
    training = Training(config, Store(config.data.path))
    optimizer: Any = training.configure_optimizers()
    before = peak_now(afresh=True)
    for step, batch in training.loader():
        training.descend(optimizer, batch, Rng(seed_of(config.seed, _STREAM, step), torch.arange(len(batch))))
        if step + 1 == steps:
            break
    return round(peak_now() - before, 1)


def peak_now(afresh: bool = False) -> float:
    """MiB that the process has held at most; ``afresh`` forgets what was before, parents' peaks among it (Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, elsewhere
    if afresh:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def make_pairs(teacher: Path, path: Path, n: int, **how: Any) -> float:
    """(noise, sample) of a trained model as a data file; the seconds of the processor that it took."""
    began = time.process_time()
    model = load(teacher, device="cpu")
    made = model.sample(n, seed=PAIR_SEED, **how)
    path.unlink(missing_ok=True)
    with StoreWriter(path, source="pairs") as out:
        for i, size in enumerate(made.sizes.tolist()):
            fields = [name for name in ("pos", "atom", "charge") if name in made.fields]
            given = {name: getattr(made, name)[i, :size].numpy() for name in fields}
            bonds = None
            if made.bond is not None:
                a, b = made.bond[i].triu().nonzero().T
                bonds = torch.stack([a, b, made.bond[i, a, b]], 1).numpy()
            out.add(given.get("atom"), given["pos"], given.get("charge"), bonds, props={"pair": i})
    return time.process_time() - began
