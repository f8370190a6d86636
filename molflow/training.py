"""Training: the loop is Lightning's, the step is ours. The only file that imports lightning."""

from __future__ import annotations

import copy
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from molflow.batch import Batch
from molflow.build import UserError
from molflow.checkpoint import save, write_atomically
from molflow.data.loader import Loader
from molflow.data.store import Store
from molflow.device import fast_matmul, pick_device
from molflow.experiment import Config, Facts, TrainConfig, make_model, make_objective
from molflow.rng import Rng, numpy_generator, seed_of
from molflow.run import Run, versions

_TRAIN, _VALIDATE, _SAMPLE = 1, 2, 3  # streams of random numbers that never meet
_SAVE_SECONDS = 300


def learning_rate(step: int, steps: int, train: TrainConfig) -> float:
    """A linear warm-up to ``lr``, then to zero: linearly, or along a cosine."""
    warmup = max(1, round(train.warmup * steps))
    if step < warmup:
        return train.lr * (step + 1) / warmup
    left = (steps - step) / max(1, steps - warmup)
    return train.lr * (left if train.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


class Training(LightningModule):
    """The network, its running average and its optimiser; one step is a function of (seed, step) and of the weights."""

    def __init__(self, config: Config, store: Store):
        super().__init__()
        self.automatic_optimization = False
        self.config, self.store = config, store
        self.facts = Facts.of(store, config)
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(config.seed) >> 1)
            self.model = make_model(config, self.facts)
        self.objective = make_objective(config, self.model)
        self.network = self.model.network
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.steps_done = 0
        self.molecules = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self.best = math.inf  # validation loss
        self.last_losses: dict[str, Tensor] = {}
        self.lr = 0.0
        self.optimizer_state: dict[str, Any] | None = None

    # -- data

    def loader(self, rank: int = 0, world: int = 1) -> Loader:
        return Loader(
            self.store,
            "train",
            self.config.data.pairs,
            seed=seed_of(self.config.seed, _TRAIN),
            start_step=self.steps_done,
            rank=rank,
            world=world,
            fields=self.fields_read,
        )

    @property
    def fields_read(self) -> list[str]:
        """The columns of the store that make a batch: an atom kind carries its charge."""
        flowing = list(self.config.data.fields)
        return [*flowing, "charge"] if "atom" in flowing and "charge" in self.store.fields else flowing

    def total_steps(self, world: int = 1) -> int:
        train = self.config.train
        return train.steps or max(1, round(train.epochs * self.loader(0, world).steps_per_epoch))

    def train_dataloader(self):
        steps = _Steps(
            self.loader(self.global_rank, self.trainer.world_size), self.total_steps(self.trainer.world_size)
        )
        workers = self.config.data.workers
        return DataLoader(steps, batch_size=None, num_workers=workers, persistent_workers=workers > 0)

    def transfer_batch_to_device(self, batch: tuple[int, Batch], device: torch.device, dataloader_idx: int):
        return batch[0], batch[1].to(device)

    # -- one step

    def configure_optimizers(self):
        train = self.config.train
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=train.lr, betas=(0.9, train.beta2), weight_decay=train.weight_decay
        )
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    def losses(self, network, batch: Batch, rng: Rng) -> dict[str, Tensor]:
        with fast_matmul(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bf16()):
            return self.objective(network, self.model.vocabulary.encode(batch), rng)

    def uses_bf16(self) -> bool:
        wanted = self.config.train.precision
        return wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda" and torch.cuda.is_bf16_supported())

    def training_step(self, batch: tuple[int, Batch], index: int) -> None:
        step, molecules = batch
        world = self.trainer.world_size if self._trainer is not None else 1
        ids = torch.arange(len(molecules), device=self.device) * world + self.global_rank
        optimizer: Any = self.optimizers()
        self.lr = learning_rate(step, self.total_steps(world), self.config.train)
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        losses = self.losses(self.network, molecules, Rng(seed_of(self.config.seed, _TRAIN, step), ids))
        total = self.objective.total(losses)
        optimizer.zero_grad()
        self.manual_backward(total)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.train.clip)
        if bool(norm.isfinite()):
            optimizer.step()
            self.update_average(step)
            self._skipped_in_a_row = 0
        else:
            self.skip(step)
        self.steps_done = step + 1
        self.molecules += len(molecules) * world
        shown = {"loss": total, **{f"loss_{name}": loss for name, loss in losses.items()}}
        self.last_losses = {name: value.detach() for name, value in shown.items()}

    def update_average(self, step: int) -> None:
        """avg <- avg + (1 - d) (weights - avg), with a short memory at first."""
        decay = min(self.config.train.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def skip(self, step: int) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        self.print(f"step {step}: the loss or its gradient is not finite; this batch is skipped")
        if self._skipped_in_a_row >= 3:
            raise UserError(
                f"three batches in a row without a finite gradient, the last at step {step}; the last good checkpoint "
                "is kept. Lower train.lr or raise train.warmup, then --resume or start anew"
            )

    def columns(self) -> list[str]:
        """The columns of metrics.csv."""
        losses = ["loss", *(f"loss_{name}" for name in self.model.path.paths)]
        return [
            *("step", "molecules", "seconds", "molecules_per_second", "lr"),
            *losses,
            *(f"val_{name}" for name in losses),
            *("edm_molecule_stable", "strict_valid"),
        ]

    # -- judging

    @torch.no_grad()
    def validation_losses(self) -> dict[str, float]:
        """The averaged weights' loss on validation molecules, with the same noise each time."""
        index = self.store.indices("val")
        if not len(index):
            return {}
        index = numpy_generator(self.config.seed, _VALIDATE).permutation(index)[:2000]
        loader = Loader(self.store, index, self.config.data.pairs, epochs=1, shuffle=False, fields=self.fields_read)
        sums: dict[str, float] = {}
        for step, batch in loader:
            rng = Rng(seed_of(self.config.seed, _VALIDATE, step), torch.arange(len(batch), device=self.device))
            losses = self.losses(self.average, batch.to(self.device), rng)
            losses["total"] = self.objective.total(losses)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss) * len(batch) / len(index)
        return {"val_loss" if name == "total" else f"val_loss_{name}": value for name, value in sums.items()}

    def sample_scores(self) -> dict[str, float]:
        """A quick score of samples from the averaged weights."""
        if "atom" not in self.model.path.paths or not self.config.train.samples:
            return {}
        from molflow.evaluate import score

        self.model.network = self.average
        try:
            batch = self.model.sample(self.config.train.samples, seed=seed_of(self.config.seed, _SAMPLE) >> 1)
        finally:
            self.model.network = self.network
        report = score(batch, protocols=["edm", "strict"] if batch.bond is not None else ["edm"])
        scores: dict[str, float] = {"edm_molecule_stable": report["edm"].molecule_stable.value}
        if batch.bond is not None:
            scores["strict_valid"] = report["strict"].valid.value
        return scores

    # -- disk

    def write_checkpoint(self, path: Path) -> None:
        """Everything a resumed run needs; it holds tensors and numbers alone."""
        optimizer: Any = self.optimizers()
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.optimizer.state_dict(),
            "steps": self.steps_done,
            "molecules": self.molecules,
            "skipped": self.skipped,
            "best": self.best,
        }
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    def read_checkpoint(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise UserError(
                f"{path} is absent, so there is nothing to resume; leave out --resume to start a run"
            ) from None
        except Exception as error:  # torch.load raises what its zip and unpickling layers raise
            raise UserError(
                f"{path} is damaged or cut short ({type(error).__name__}); start anew with --overwrite"
            ) from None
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer_state = state["optimizer"]
        self.steps_done, self.molecules = state["steps"], state["molecules"]
        self.skipped, self.best = state["skipped"], state["best"]

    def write_model(self, folder: Path) -> None:
        provenance = {**versions(), "steps": self.steps_done, "molecules": self.molecules}
        save(folder, self.average.state_dict(), self.config, self.facts, provenance)


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


class Journal(Callback):
    """Validates, logs and saves as the run goes, and turns Ctrl-C and SIGTERM into a saved stop."""

    def __init__(self, run: Run):
        self.run = run
        self.stop: str | None = None
        self.started = self.saved = 0.0
        self.first_molecules = 0
        self.handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: Training) -> None:
        self.started = self.saved = time.monotonic()
        self.first_molecules = module.molecules
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = signal.Signals(number).name

    def on_train_batch_end(self, trainer: Trainer, module: Training, outputs, batch, index: int) -> None:
        step, total = module.steps_done, module.total_steps(trainer.world_size)
        every = max(1, total // max(1, module.config.train.validate))
        if step % min(every, 50) == 0 or step in (1, total):
            speed = (module.molecules - self.first_molecules) / (time.monotonic() - self.started)
            losses = {name: float(value) for name, value in module.last_losses.items()}
            module.log_dict({**losses, "mol/s": speed}, prog_bar=True, logger=False)
            self.write(trainer, module, {**losses, "lr": module.lr, "molecules_per_second": round(speed, 1)})
        if step % every == 0 or step == total:
            self.judge(trainer, module)
        elif self.stop or time.monotonic() - self.saved > _SAVE_SECONDS:
            self.save(trainer, module)
        trainer.should_stop = trainer.should_stop or self.stop is not None

    def judge(self, trainer: Trainer, module: Training) -> None:
        """Validation loss and a score of samples; the model is written when its loss is the lowest so far."""
        if trainer.is_global_zero:
            figures = module.validation_losses() | module.sample_scores()
            loss = figures.get("val_loss")
            if loss is None or loss < module.best:
                module.best = module.best if loss is None else loss
                module.write_model(self.run.folder)
            self.write(trainer, module, figures)
            tqdm.write(
                f"step {module.steps_done}: " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            )
        trainer.strategy.barrier()
        self.save(trainer, module)

    def save(self, trainer: Trainer, module: Training) -> None:
        if trainer.is_global_zero:
            module.write_checkpoint(self.run.checkpoint)
        self.saved = time.monotonic()

    def write(self, trainer: Trainer, module: Training, figures: dict[str, float]) -> None:
        if trainer.is_global_zero:
            seconds = round(time.monotonic() - self.started, 1)
            row = {"step": module.steps_done, "molecules": module.molecules, "seconds": seconds, **figures}
            self.run.append(module.columns(), row)
            for logger in trainer.loggers:
                logger.log_metrics(figures, module.steps_done)

    def teardown(self, trainer: Trainer, module: Training, stage: str) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}


def fit(config: Config, out: str | Path, resume: bool = False, overwrite: bool = False, progress: bool = True) -> Run:
    """Train as the configuration says, into a run folder."""
    run, store = Run(out), Store(config.data.path)
    training = Training(config, store)
    if resume:
        run.check_same(config, store.checksum)
        training.read_checkpoint(run.checkpoint)
        run.rewind(training.steps_done)
    else:
        run.start(config, store.checksum, overwrite)
    journal = Journal(run)
    with _quiet():
        trainer = _trainer(config.train, run, [journal, *([TQDMProgressBar(refresh_rate=10)] if progress else [])])
        trainer.fit(training)
    if journal.stop:
        raise Interrupted(f"stopped by {journal.stop} at step {training.steps_done}, saved; --resume continues")
    return run


def dry_run(config: Config) -> dict[str, Any]:
    """Everything built, one step taken on the dearest batch, nothing written: what the run would take."""
    store = Store(config.data.path)
    training = Training(config, store)
    training.to(pick_device(config.train.device))
    loader = training.loader()
    sizes = store.sizes[loader.index]
    dearest = max(loader.plan.epoch(0), key=lambda batch: len(batch) * int(sizes[batch].max()) ** 2)
    batch = store.batch(loader.index[dearest], fields=training.fields_read).to(training.device)
    rng = Rng(config.seed, torch.arange(len(batch), device=training.device))
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = training.objective.total(training.losses(training.network, batch, rng))
    loss.backward()
    started = time.perf_counter()
    training.objective.total(training.losses(training.network, batch, rng)).backward()
    seconds = time.perf_counter() - started
    steps = training.total_steps()
    parameters = sum(p.numel() for p in training.network.parameters())
    return {
        "molecules": f"{len(loader.index):,} to train on, {len(store.indices('val')):,} to validate",
        "atom kinds": " ".join(training.model.vocabulary.atoms) or "none",
        "batch": f"{len(batch)} molecules of up to {batch.mask.shape[1]} atoms; padding {loader.plan.padding():.1%}",
        "parameters": f"{parameters:,}",
        "device": str(training.device),
        "memory": f"{sum(saved.values()) / 2**20:.0f} MiB saved for the backward pass of a batch",
        "loss": f"{float(loss):.4g} before training",
        "steps": f"{steps:,} ({steps / loader.steps_per_epoch:.3g} epochs)",
        "expected time": f"{steps * seconds / 60:.0f} minutes at {seconds * 1e3:.0f} ms a step",
    }


class Interrupted(UserError):
    """A run that was asked to stop; what it had is saved."""


def _trainer(train: TrainConfig, run: Run, callbacks: list[Callback]) -> Trainer:
    device = pick_device(train.device)
    return Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[device.index] if device.index is not None else train.devices,
        strategy="ddp" if train.devices > 1 else "auto",
        max_epochs=1,
        logger=_logger(train.logger, run),
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, TQDMProgressBar) for callback in callbacks),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def _logger(name: str, run: Run):
    from lightning.pytorch import loggers

    if name == "csv":
        return False  # metrics.csv is always written
    try:
        if name == "tensorboard":
            return loggers.TensorBoardLogger(run.folder, name="tensorboard", version="")
        if name == "wandb":
            return loggers.WandbLogger(name=run.folder.name, save_dir=run.folder)
        return loggers.MLFlowLogger(experiment_name=run.folder.name, save_dir=str(run.folder / "mlruns"))
    except ModuleNotFoundError as error:
        raise UserError(
            f"train.logger={name} needs a package that is not installed: pip install {error.name or name}"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's greetings and its advice to use more workers."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            logger.setLevel(level)
