"""Where the time of a step goes, what it keeps in memory, and how near it comes to the machine's matrix products."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from molflow.batch import Batch
from molflow.config import Config
from molflow.data.loader import BatchPlan, Loader
from molflow.data.store import Store
from molflow.device import fast_matmul, pick_device, saved_bytes, wait_for
from molflow.rng import Rng
from molflow.training.module import Training
from molflow.training.stream import Item, Pairing, Streams

STEPS = 16  # that are timed, spread over an epoch's batches in order of their cost
WARM = 3
TRACED = 4  # of them, whose operations are told apart
HEAVIEST = 10  # operations that are listed
PARTS = LOAD, PAIR, MOVE, HINT, FORWARD, REST, BACKWARD, OPTIMISE, AVERAGE = (
    "data loading",
    "noise and coupling",
    "to the device",
    "forward, for the hint",
    "forward",
    "times, path and losses",
    "backward",
    "clipping and optimiser",
    "averaging",
)
BY_WORKERS = (LOAD, PAIR)  # where there are any


class Stopwatch:
    """Seconds by name; the device is waited for wherever one part ends, so that none pays for another.

    A part within a part is taken off the outer one.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = dict.fromkeys(list[str](PARTS), 0.0)
        self._inner = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wait_for(self.device)
        began = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            wait_for(self.device)
            taken = time.perf_counter() - began
            self.seconds[name] += taken - self._inner.pop()
            self._inner[-1] += taken


def profile(config: Config) -> str:
    """A table of what a training step does, timed on this machine and as the configuration says."""
    training = Training(config, Store(config.data.path))
    training.to(pick_device(config.train.device))
    loader, optimizer = training.loader(), training.configure_optimizers()
    steps = _dear_and_cheap(loader.plan)
    # what is compiled or recorded is so at the first or second batch of a shape
    for k in steps[:: STEPS // WARM] if config.train.compile == "none" else steps * 2:
        _step(training, optimizer, _ready(training, loader, k, Stopwatch(training.device)), Stopwatch(training.device))
    watch, items, flops = Stopwatch(training.device), [], 0
    for k in steps:
        items.append(_ready(training, loader, k, watch))
        _step(training, optimizer, items[-1], watch)
        flops += _flops(training, items[-1])
    last, molecules = items[-1], sum(len(item.molecules) for item in items)
    saved = saved_bytes(lambda: _loss(training, last), training.network.parameters()) / len(last.molecules)
    table = _table(training, watch.seconds, molecules, flops, saved, _seconds_in_a_row(training, optimizer, items))
    return f"{table}\n\n{_heaviest(training, optimizer, items[:: STEPS // TRACED])}"


def _seconds_in_a_row(training: Training, optimizer: Any, items: Sequence[Item]) -> float:
    """Of these steps where nobody waits between their parts, so that a device has work while the host prepares more."""
    wait_for(training.device)
    began = time.perf_counter()
    for item in items:
        _, finite = training.descend(optimizer, item.molecules, _rng(training, item), noise=item)
        training.update_average(item.step, finite)
    wait_for(training.device)
    return time.perf_counter() - began


def _heaviest(training: Training, optimizer: Any, items: Sequence[Item]) -> str:
    """The operations, or a GPU's kernels, that take the most time of a step."""
    on_gpu = training.device.type == "cuda"
    with torch.profiler.profile() as trace:  # of what the device has done, and of the host
        _seconds_in_a_row(training, optimizer, items)
    spent: dict[str, tuple[float, float]] = {}  # ms and calls of a step
    for event in trace.key_averages():
        if (event.device_type == torch.autograd.DeviceType.CUDA) == on_gpu:
            taken = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            spent[event.key] = (taken / 1e3 / len(items), event.count / len(items))
    whole = sum(taken for taken, _ in spent.values())
    lines = [f"{'kernel' if on_gpu else 'operation':<52}{'ms':>8}{'share':>8}{'calls':>8}"]
    for name, (taken, calls) in sorted(spent.items(), key=lambda pair: -pair[1][0])[:HEAVIEST]:
        lines.append(f"{name:<52.50}{taken:>8.2f}{taken / whole:>8.1%}{calls:>8.0f}")
    return "\n".join(lines)


def _table(
    training: Training, spent: dict[str, float], molecules: int, flops: int, saved: float, in_a_row: float
) -> str:
    workers = training.config.data.workers
    apart = sum(spent[name] for name in BY_WORKERS) if workers else 0.0
    seconds = sum(spent.values()) - apart
    lines = [f"{'part of a step':<32}{'ms':>10}{'share':>9}"]
    for name in PARTS:
        share = "workers" if workers and name in BY_WORKERS else f"{spent[name] / seconds:.1%}"
        lines.append(f"{name:<32}{1e3 * spent[name] / STEPS:>10.2f}{share:>9}")
    lines.append(f"{'together':<32}{1e3 * seconds / STEPS:>10.2f}{1:>9.1%}\n")
    computing, each = spent[HINT] + spent[FORWARD] + spent[BACKWARD], molecules / STEPS
    bf16 = training.uses_bf16()
    peak = matrix_peak(training.device, bf16)
    facts = {
        "without a wait between parts": f"{1e3 * in_a_row / STEPS:.2f} ms a step, their batches at hand",
        "molecules per second": f"{molecules / in_a_row:,.0f}, {each:.0f} a step",
        "device": f"{training.device}, {'bf16' if bf16 else 'fp32'}, compile: {training.config.train.compile}",
        "saved for the backward pass": f"{saved / 2**20:.3g} MiB a molecule, {saved * each / 2**20:,.0f} MiB a step",
        "the network's products": f"{flops / molecules / 1e9:.3g} GFLOP a molecule",
        "their rate": f"{flops / computing / 1e9:,.0f} GFLOP/s while it computes",
        "one large product": f"{peak / 1e9:,.0f} GFLOP/s, so the network runs at {flops / computing / peak:.1%} of it",
    }
    if workers:
        facts["the workers"] = f"{apart / workers / seconds:.0%} busy: {workers} of them, each at other batches"
    return "\n".join([*lines, *(f"{name:<32}{value}" for name, value in facts.items())])


def _dear_and_cheap(plan: BatchPlan) -> list[int]:
    """Steps of the first epoch, spread evenly over its batches in order of their cost."""
    by_cost = np.argsort([len(batch) * int(plan.sizes[batch].max()) ** 2 for batch in plan.epoch(0)], kind="stable")
    return [int(by_cost[(2 * k + 1) * len(by_cost) // (2 * STEPS)]) for k in range(STEPS)]


def _ready(training: Training, loader: Loader, step: int, watch: Stopwatch) -> Item:
    """A batch with its noise, made where training makes it: by a worker, or on the device."""
    pairing = Pairing(training.objective, training.model.vocabulary, Streams(training.config.seed))
    with watch.part(LOAD):
        item = Item(step, loader.at(step))
    if training.config.data.workers:
        with watch.part(PAIR):
            item = pairing(item)
    with watch.part(MOVE):
        item = item.to(training.device)
    if item.noise is None:
        with watch.part(PAIR):
            item = pairing(item)
    return item


def _step(training: Training, optimizer: Any, item: Item, watch: Stopwatch) -> None:
    """One step, as training takes it."""

    def network(x: Batch, t: Tensor, **given) -> dict[str, Tensor]:
        with watch.part(FORWARD if torch.is_grad_enabled() else HINT):
            return training.compiled(x, t, **given)

    with fast_matmul(training.device):
        with watch.part(REST):
            total = training.objective.total(training.losses(network, item.molecules, _rng(training, item), item))
        with watch.part(BACKWARD):
            optimizer.zero_grad()
            total.backward()
    with watch.part(OPTIMISE):
        finite = training.take(optimizer)
    with watch.part(AVERAGE):
        training.update_average(item.step, finite)


def _flops(training: Training, item: Item) -> int:
    """Floating-point operations of a step's matrix products, forward and backward."""
    with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
        _loss(training, item).backward()
    return counter.get_total_flops()


def _loss(training: Training, item: Item) -> Tensor:
    with fast_matmul(training.device):
        return training.objective.total(training.losses(training.network, item.molecules, _rng(training, item), item))


def _rng(training: Training, item: Item) -> Rng:
    return Streams(training.config.seed).at(item.step, len(item.molecules), training.device)


def matrix_peak(device: torch.device, bf16: bool, repeats: int = 5) -> float:
    """Floating-point operations a second of one large matrix product, the best of a few."""
    size = 8192 if device.type == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    best = float("inf")
    with fast_matmul(device):
        for _ in range(1 + repeats):
            wait_for(device)
            began = time.perf_counter()
            torch.mm(a, a)
            wait_for(device)
            best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
