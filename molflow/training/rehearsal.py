"""What a run would take: everything built, a few steps taken, nothing written."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from molflow.batch import Batch
from molflow.config import Config
from molflow.data.store import Store
from molflow.device import pick_device, saved_bytes, wait_for
from molflow.rng import Rng
from molflow.training.module import Training

_PLACES = (0.5, 0.2, 0.8, 0.35, 0.65, 0.05, 0.95)  # of the batches in order of their cost
_PATIENCE = 10.0  # seconds of steps after which no more are measured


def dry_run(config: Config) -> dict[str, Any]:
    """Sizes, parameters, memory and the expected time of a run; the steps are taken on batches dear and cheap."""
    store = Store(config.data.path)
    training = Training(config, store)
    if config.train.init:
        training.begin_from(config.train.init)
    training.to(pick_device(config.train.device))
    loader, optimizer = training.loader(), training.configure_optimizers()
    sizes = store.sizes[loader.index]
    by_cost = sorted(loader.plan.epoch(0), key=lambda batch: len(batch) * int(sizes[batch].max()) ** 2)

    def batch_at(place: float) -> Batch:
        index = by_cost[round(place * (len(by_cost) - 1))]
        return store.batch(loader.index[index], fields=training.fields_read).to(training.device)

    dearest = batch_at(1.0)
    memory, loss = _memory(training, optimizer, dearest)
    seconds, started = [], time.perf_counter()
    for place in _PLACES:
        seconds.append(_seconds(training, optimizer, batch_at(place)))
        if time.perf_counter() - started > _PATIENCE:
            break
    each, minutes = float(np.mean(seconds)), config.train.minutes
    steps = round(60 * minutes / each) if minutes else training.total_steps(config.train.devices)
    time_of_all = f"{_spell(steps * each)} at {each * 1e3:.0f} ms a step, besides validation"
    if minutes:
        time_of_all = f"{minutes:g} minutes, validation included, at {each * 1e3:.0f} ms a step"
    parameters = sum(p.numel() for p in training.network.parameters())
    return {
        "molecules": f"{len(loader.index):,} to train on, {len(store.indices('val')):,} to validate",
        "atom kinds": " ".join(training.model.vocabulary.atoms) or "none",
        "batch": f"{dearest.mask.shape[0]} of up to {dearest.mask.shape[1]} atoms; padding {loader.plan.padding():.1%}",
        "parameters": f"{parameters:,}",
        "device": str(training.device),
        "memory": f"{memory / 2**20:.0f} MiB saved for the backward pass of the dearest batch",
        "loss": f"{loss:.4g} before training",
        "coupling": _coupling(training, dearest),
        "steps": f"{steps:,} ({steps * config.train.devices / training.batches:.3g} epochs)",
        "expected time": time_of_all,
    }


def _coupling(training: Training, batch: Batch) -> str:
    """What pairing does to a batch; costs are those of a molecule, in angstrom^2."""
    figures = training.objective.report(training.model.vocabulary.encode(batch), _rng(training, batch))
    return "; ".join(f"{name} {value:.3g}" for name, value in figures.items())


def _rng(training: Training, batch: Batch) -> Rng:
    return Rng(training.config.seed, torch.arange(len(batch), device=training.device))


def _memory(training: Training, optimizer: torch.optim.Optimizer, batch: Batch) -> tuple[int, float]:
    """Bytes that a step keeps for its backward pass, and its loss. The step also warms memory and threads up."""
    losses: dict[str, torch.Tensor] = {}

    def forward() -> torch.Tensor:
        losses.update(training.losses(training.network, batch, _rng(training, batch)))
        return training.objective.total(losses)

    memory = saved_bytes(forward, training.network.parameters())
    loss, _ = training.descend(optimizer, batch, _rng(training, batch))
    return memory, float(loss["loss"])


def _seconds(training: Training, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """The mean time of a step: with a hint as often as training gives one, and without."""
    mean = 0.0
    for weight in training.objective.ways():
        wait_for(training.device)
        started = time.perf_counter()
        training.descend(optimizer, batch, _rng(training, batch))
        wait_for(training.device)
        mean += weight * (time.perf_counter() - started)
    return mean


def _spell(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
