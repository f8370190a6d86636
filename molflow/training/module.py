"""The network, its running average, its optimiser, and the step that changes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn

from molflow.batch import Batch
from molflow.build import UserError, at, unknown
from molflow.config import EPOCHS, Config
from molflow.data.loader import Loader
from molflow.data.store import Store
from molflow.device import Leash, fast_matmul, in_bf16, multiplies_bf16
from molflow.experiment import make_model, make_objective
from molflow.facts import Facts
from molflow.lineage import begin_from, labels_of, taught_by
from molflow.rng import Rng, seed_of
from molflow.training.compiling import Compiled, RecordedStep
from molflow.training.length import Length, Minutes, learning_rate
from molflow.training.optimizers import make_optimizer
from molflow.training.skips import Skips
from molflow.training.stream import TRAIN, Item, Pairing, Streams, data_loader, with_noise

VERSION = 1  # of the state that a checkpoint holds


class Training(LightningModule):
    """One step is a function of (seed, step) and of the weights: nothing else need be saved to go on."""

    def __init__(self, config: Config, store: Store, own: Path | None = None):
        """``own`` is the folder of a run that goes on: what its model knows is no longer asked of ``train.init``."""
        super().__init__()
        self.automatic_optimization = False
        self.config, self.store = config, store
        known = [] if config.train.teacher else [own, config.train.init]  # a student's labels are its teacher's
        self.facts = Facts.of(store, config, next(filter(None, (labels_of(each) for each in known if each)), None))
        self.teacher = None
        if config.train.teacher:
            self.teacher, self.facts = taught_by(config, self.facts)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(config.seed) >> 1)
            self.model = make_model(config, self.facts)
        with at("sample"):
            self.model.times(config.sample)  # what does not suit the model is told now, not when it first samples
            self.model.asked(None, config.sample)
        self.objective = make_objective(config, self.model, self.teacher)
        self.objective.coupling.prepare(store.prop_names, store.meta)
        for name in self.objective.coupling.props:
            _check_values(store, name)
        self.network = self.model.network
        hold_still(self.network, config.train.only)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.batches = len(self.loader().plan)  # of an epoch
        self.compiled = Compiled(self.network, config.train.compile)
        self.recorded: RecordedStep | None = None
        self.length: Length = Minutes(config.train.minutes) if config.train.minutes else Length(self.total_steps())
        self.steps_done = self.molecules = 0
        self.skips = Skips()
        self.seconds = 0.0
        self.best = math.inf  # validation loss
        self.lr = 0.0
        self.last_losses: dict[str, Tensor] = {}
        self.optimizer_state: dict[str, Any] | None = None

    # -- data

    def loader(self, rank: int = 0, world: int = 1, first: int = 0) -> Loader:
        return Loader(
            self.store,
            "train",
            self.config.data.pairs,
            seed=seed_of(self.config.seed, TRAIN),
            start_step=first,
            rank=rank,
            world=world,
            fields=self.fields_read,
        )

    @property
    def fields_read(self) -> Sequence[str]:
        """The columns of the store that make a batch: an atom kind carries its charge."""
        flowing = [*self.config.data.fields, *self.objective.coupling.props]
        read = dict.fromkeys([*flowing, "charge"] if "atom" in flowing else flowing)
        return [name for name in read if name != "charge" or name in self.store.fields]

    def total_steps(self, world: int = 1) -> int:
        """Of a run whose length is told in steps or epochs."""
        train = self.config.train
        return train.steps or max(1, round((train.epochs or EPOCHS) * self.batches / world))

    def setup(self, stage: str) -> None:
        if not self.config.train.minutes:  # only now is it known how many processes share an epoch
            self.length = Length(self.total_steps(self.trainer.world_size))
        self.leash = Leash(self.device)

    def streams(self) -> Streams:
        return Streams(self.config.seed, self.global_rank, self.trainer.world_size)

    def train_dataloader(self):
        loader = self.loader(self.global_rank, self.trainer.world_size, self.steps_done)
        done = self.steps_done >= self.length.total
        total = self.length.total if done or not self.config.train.minutes else None
        pairing = Pairing(self.objective, self.model.vocabulary, self.streams())
        return data_loader(loader, total, pairing, self.config.data.workers, pin=self.stays_on_device)

    def transfer_batch_to_device(self, batch: Item, device: torch.device, dataloader_idx: int) -> Item:
        return batch.to(device)

    # -- one step

    def configure_optimizers(self):
        optimizer = make_optimizer(self.network, self.config.train, fused=self.stays_on_device)
        if self.optimizer_state is not None:
            for group in self.optimizer_state["param_groups"]:
                group["fused"] = self.stays_on_device  # a run may go on with another device
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    @property
    def stays_on_device(self) -> bool:
        """Whether a step runs through without the host asking the device for a result."""
        return self.device.type == "cuda"

    def losses(
        self, network: Callable[..., dict[str, Tensor]], batch: Batch, rng: Rng, noise: Item | None = None
    ) -> dict[str, Tensor]:
        """The loss of each field; with bf16, the network alone computes in it. ``noise``: a batch made ready before."""

        read = in_bf16(network) if self.uses_bf16() else network
        if noise is not None:
            return with_noise(self.objective, noise)(read, batch, rng)
        return self.objective(read, self.model.vocabulary.encode(batch), rng)

    def uses_bf16(self) -> bool:
        wanted = self.config.train.precision
        return wanted == "bf16" or (wanted == "auto" and multiplies_bf16(self.device))

    def descend(
        self,
        optimizer: Any,
        batch: Batch,
        rng: Rng,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        noise: Item | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the optimiser, unless the gradient is not finite; the losses, and whether it was taken."""
        with fast_matmul(self.device):
            losses = self.losses(self.compiled, batch, rng, noise)
            total = self.objective.total(losses)
            optimizer.zero_grad()
            backward(total)
        finite = self.take(optimizer)
        shown = {"loss": total, **{f"loss_{name}": loss for name, loss in losses.items()}}
        return {name: value.detach() for name, value in shown.items()}, finite

    def take(self, optimizer: Any) -> Tensor:
        """The optimiser's step where the gradient is finite, and whether it is.

        A fused optimiser is told on its device, so that nobody waits for the answer.
        """
        if self.compiled.graphs is not None:
            kernel = getattr(optimizer, "optimizer", optimizer)  # within Lightning's wrapper
            if self.recorded is None or self.recorded.optimizer is not kernel:
                learning = [weight for weight in self.network.parameters() if weight.requires_grad]
                self.recorded = RecordedStep(kernel, learning, lambda: self._take(kernel))
            return self.recorded()
        return self._take(optimizer)

    def _take(self, optimizer: Any) -> Tensor:
        finite = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.train.clip).isfinite()
        kernel = getattr(optimizer, "optimizer", optimizer)
        if all(group.get("fused") for group in kernel.param_groups):
            kernel.found_inf = (~finite).float()
            optimizer.step()
        elif finite:
            optimizer.step()
        return finite

    def training_step(self, batch: Item, index: int) -> None:
        step, molecules = batch.step, batch.molecules
        optimizer: Any = self.optimizers()
        done = self.length.share(step)
        self.lr = learning_rate(done, self.length.share(step + 1) - done, self.config.train)
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        streams = self.streams()
        rng = streams.at(step, len(molecules), self.device)
        ready = None if batch.noise is None else batch
        self.last_losses, finite = self.descend(optimizer, molecules, rng, self.manual_backward, ready)
        self.steps_done = step + 1
        self.molecules += len(molecules) * streams.world
        self.update_average(step, finite)
        self.skips.note(step, finite)
        self.leash.step()

    def update_average(self, step: int, taken: Tensor | None = None) -> None:
        """avg <- avg + (1 - d) (weights - avg), with a short memory at first, where the step was taken."""
        decay = min(self.config.train.ema, (1 + step) / (10 + step))
        average: list[Tensor] = [*self.average.parameters()]
        weights: list[Tensor] = [*self.network.parameters()]
        with torch.no_grad():
            for ours, theirs in zip(self.average.buffers(), self.network.buffers()):
                ours.copy_(theirs)
            if taken is None or not self.stays_on_device:
                if taken is None or taken:
                    torch._foreach_lerp_(average, weights, 1 - decay)
                return
            change = torch._foreach_sub(weights, average)
            torch._foreach_mul_(change, taken * (1 - decay))
            torch._foreach_add_(average, change)

    def report_skips(self) -> None:
        """Tell of the steps that were not taken since the last time; this waits for the device."""
        for step in self.skips.read():
            self.print(f"step {step + 1}: the loss or its gradient is not finite; this batch is skipped")

    def begin_from(self, source: str) -> None:
        """Weights and average of another model, before the first step."""
        begin_from(source, self.network, self.facts, self.config)
        self.average.load_state_dict(self.network.state_dict())

    # -- what a checkpoint holds: tensors and numbers alone

    def state(self) -> dict[str, Any]:
        optimizer: Any = self.optimizers()
        return {
            "version": VERSION,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.optimizer.state_dict(),
            "steps": self.steps_done,
            "molecules": self.molecules,
            "skipped": self.skips.count,
            "seconds": self.seconds,
            "best": self.best,
            "times": self.objective.times.state(),
            "length": self.length.state() if isinstance(self.length, Minutes) else None,
            "labels": asdict(self.facts.vocabulary),
        }

    def restore(self, state: dict[str, Any]) -> None:
        labels, ours = state.get("labels"), asdict(self.facts.vocabulary)  # none in a run of an earlier version
        if labels and labels != ours:
            raise UserError(
                f"--resume: the run had the labels {labels}, and would go on with {ours}: train.init, which told their "
                "order, is not where it was; put it back"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer_state = state["optimizer"]
        self.steps_done, self.molecules = state["steps"], state["molecules"]
        self.objective.times.restore(state.get("times", {}))  # none in a run of an earlier version
        self.skips.count, self.seconds, self.best = state["skipped"], state["seconds"], state["best"]
        if self.config.train.minutes:
            kept = state.get("length")  # none in a run of so many steps, or of an earlier version
            self.length = Minutes.resumed(kept, self.config.train.minutes, self.steps_done, self.seconds)


def _check_values(store: Store, name: str) -> None:
    """A UserError where a molecule that will be asked for a property has none."""
    for split in ("train", "val"):
        lacking = int((~np.isfinite(store.props(name)[store.indices(split)])).sum())
        if lacking:
            raise UserError(
                f"{store.path}: {lacking:,} molecules of split {split} have no {name!r}, which the coupling reads"
            )


def hold_still(network: nn.Module, only: Sequence[str]) -> None:
    """Leave the weights as they are but those of the parts named ``only``, where some are.

    >>> pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> hold_still(pair, ["1"])
    >>> [name for name, weight in pair.named_parameters() if weight.requires_grad]
    ['1.weight', '1.bias']
    """
    named, learning = dict(network.named_parameters()), set()
    for part in only:
        found = {name for name in named if f"{name}.".startswith(f"{part}.")}
        if not found:
            raise unknown("part of the network in train.only", part, {name.split(".")[0] for name in named})
        learning |= found
    for name, weight in named.items() if only else ():
        weight.requires_grad_(name in learning)
