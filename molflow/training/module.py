"""The network, its running average, its optimiser, and the step that changes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from molflow.batch import Batch
from molflow.build import UserError
from molflow.config import Config, TrainConfig
from molflow.data.loader import Loader
from molflow.data.store import Store
from molflow.device import fast_matmul
from molflow.experiment import Facts, make_model, make_objective
from molflow.rng import Rng, seed_of
from molflow.training.optimizers import make_optimizer

TRAIN, VALIDATE, SAMPLE = 1, 2, 3  # streams of random numbers that never meet
VERSION = 1  # of the state that a checkpoint holds


def learning_rate(step: int, steps: int, train: TrainConfig) -> float:
    """A linear warm-up to ``lr``, then to zero: linearly, or along a cosine."""
    warmup = max(1, round(train.warmup * steps))
    if step < warmup:
        return train.lr * (step + 1) / warmup
    left = (steps - step) / max(1, steps - warmup)
    return train.lr * (left if train.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


class Training(LightningModule):
    """One step is a function of (seed, step) and of the weights: nothing else need be saved to go on."""

    def __init__(self, config: Config, store: Store):
        super().__init__()
        self.automatic_optimization = False
        self.config, self.store = config, store
        self.facts = Facts.of(store, config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(config.seed) >> 1)
            self.model = make_model(config, self.facts)
        self.objective = make_objective(config, self.model)
        self.objective.coupling.prepare(store.prop_names, store.meta)
        self.network = self.model.network
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.batches = len(self.loader().plan)  # of an epoch
        self.steps_done = self.molecules = self.skipped = 0
        self.seconds = 0.0
        self.best = math.inf  # validation loss
        self.lr = 0.0
        self.last_losses: dict[str, Tensor] = {}
        self.optimizer_state: dict[str, Any] | None = None
        self._skipped_in_a_row = 0

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
        return [*flowing, "charge"] if "atom" in flowing and "charge" in self.store.fields else flowing

    def total_steps(self, world: int = 1) -> int:
        train = self.config.train
        return train.steps or max(1, round(train.epochs * self.batches / world))

    def train_dataloader(self):
        world = self.trainer.world_size
        steps = _Steps(self.loader(self.global_rank, world, self.steps_done), self.total_steps(world))
        workers = self.config.data.workers
        return DataLoader(
            steps,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_signals_to_the_parent,
        )

    def transfer_batch_to_device(self, batch: tuple[int, Batch], device: torch.device, dataloader_idx: int):
        return batch[0], batch[1].to(device)

    # -- one step

    def configure_optimizers(self):
        optimizer = make_optimizer(self.network, self.config.train)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    def losses(self, network: Callable[..., dict[str, Tensor]], batch: Batch, rng: Rng) -> dict[str, Tensor]:
        """The loss of each field; with bf16, the network alone computes in it."""

        def read(x: Batch, t: Tensor, *, hint=None) -> dict[str, Tensor]:
            # a context each call: weights cast under no_grad, for the hint, must not serve the pass that learns
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bf16()):
                pred = network(x, t, hint=hint)
            return {name: value.to(x.pos.dtype) for name, value in pred.items()}

        return self.objective(read, self.model.vocabulary.encode(batch), rng)

    def uses_bf16(self) -> bool:
        wanted = self.config.train.precision
        return wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported())

    def descend(
        self, optimizer: Any, batch: Batch, rng: Rng, backward: Callable[[Tensor], Any] = Tensor.backward
    ) -> tuple[dict[str, Tensor], bool]:
        """One step of the optimiser, unless the gradient is not finite; the losses, and whether it was taken."""
        with fast_matmul():
            losses = self.losses(self.network, batch, rng)
            total = self.objective.total(losses)
            optimizer.zero_grad()
            backward(total)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.train.clip)
        finite = bool(norm.isfinite())
        if finite:
            optimizer.step()
        shown = {"loss": total, **{f"loss_{name}": loss for name, loss in losses.items()}}
        return {name: value.detach() for name, value in shown.items()}, finite

    def training_step(self, batch: tuple[int, Batch], index: int) -> None:
        step, molecules = batch
        world = self.trainer.world_size
        ids = torch.arange(len(molecules), device=self.device) * world + self.global_rank
        optimizer: Any = self.optimizers()
        self.lr = learning_rate(step, self.total_steps(world), self.config.train)
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        rng = Rng(seed_of(self.config.seed, TRAIN, step), ids)
        self.last_losses, finite = self.descend(optimizer, molecules, rng, self.manual_backward)
        self.steps_done = step + 1
        self.molecules += len(molecules) * world
        if finite:
            self._skipped_in_a_row = 0
            self.update_average(step)
        else:
            self.skip(step)

    def update_average(self, step: int) -> None:
        """avg <- avg + (1 - d) (weights - avg), with a short memory at first."""
        decay = min(self.config.train.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def skip(self, step: int) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        self.print(f"step {step + 1}: the loss or its gradient is not finite; this batch is skipped")
        if self._skipped_in_a_row >= 3:
            raise UserError(
                f"three batches in a row without a finite gradient, the last at step {step + 1}; the last good "
                "checkpoint is kept. Lower train.lr or raise train.warmup and start another run"
            )

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
            "skipped": self.skipped,
            "seconds": self.seconds,
            "best": self.best,
            "times": self.objective.times.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer_state = state["optimizer"]
        self.steps_done, self.molecules = state["steps"], state["molecules"]
        self.skipped, self.seconds, self.best = state["skipped"], state["seconds"], state["best"]
        self.objective.times.restore(state.get("times", {}))  # none in a run of an earlier version


class _Steps(IterableDataset):
    """The loader's batches from its step on, up to the last of the run."""

    def __init__(self, loader: Loader, total: int):
        self.loader, self.total = loader, total

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        for step, batch in self.loader:
            if step >= self.total:
                return
            yield step, batch

    def __len__(self) -> int:
        return max(0, self.total - self.loader.start_step)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; those that make batches end when training has ended."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
