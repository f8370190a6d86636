"""A configuration -> a run folder, by Lightning's loop on one device or several."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from molflow.atomic import claimed
from molflow.build import UserError
from molflow.checkpoint import WEIGHTS
from molflow.config import Config, TrainConfig
from molflow.data.store import Store
from molflow.device import pick_device
from molflow.run import Run
from molflow.training.journal import Journal
from molflow.training.judge import columns
from molflow.training.length import Length
from molflow.training.module import VERSION, Training
from molflow.training.optimizers import make_optimizer


class Interrupted(UserError):
    """A run that was asked to stop; what it had is saved."""

    def __init__(self, number: signal.Signals, step: int, length: Length, folder: Path):
        super().__init__(
            f"stopped by {number.name} after step {step} of {length}; all is saved in {folder}, "
            "and the same command with --resume goes on"
        )
        self.code = 128 + number  # as a shell counts processes that a signal ended


def fit(config: Config, out: str | Path, resume: bool = False, overwrite: bool = False, progress: bool = True) -> Run:
    """Train as the configuration says, into a run folder.

    With several devices, the processes that Lightning starts for them run the caller's script too; they end here.
    """
    run, rank = Run(out), LightningEnvironment().local_rank() if config.train.devices > 1 else 0
    first, rank_zero_only.rank = rank == 0, rank  # whatever task of a scheduler this is: each is a run of its own
    with claimed(run.folder) if first else nullcontext():
        return _fit(config, run, first, resume, overwrite, progress)


def _fit(config: Config, run: Run, first: bool, resume: bool, overwrite: bool, progress: bool) -> Run:
    if not resume and first:
        run.check_free(overwrite)
    store = Store(config.data.path)
    if resume:
        run.check_same(config, store.checksum)
    goes_on = resume and run.begun  # or was it killed before there was anything to go on from?
    training = Training(config, store, run.folder if goes_on else None)
    journal = Journal(run)
    with _quiet():
        training.compiled.check(pick_device(config.train.device))
        trainer = _trainer(config.train, run, [journal, *([_Bar(refresh_rate=10)] if progress else [])])
        if goes_on:
            training.restore(run.read_checkpoint(VERSION))
            asked = training.total_steps(config.train.devices)
            if not config.train.minutes and training.steps_done > asked:
                raise UserError(
                    f"--resume: {training.steps_done} steps are done, and this asks for {asked}: give it more"
                )
            if training.steps_done >= training.length.total and not (run.folder / WEIGHTS).exists():
                raise UserError(
                    f"--resume: {training.steps_done} steps are done, {training.length} leave none, and no model has "
                    "been validated and saved yet; give it more"
                )
        else:
            make_optimizer(training.network, config.train, fused=False)  # which may not suit the network
            if config.train.init:
                training.begin_from(config.train.init)
        if first:  # nothing that was there changes before all else is known to be well
            if goes_on:
                run.go_on(config, training.steps_done, columns(training))
            else:
                run.start(config, store.checksum)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            trainer.fit(training)
        except SystemExit:  # Lightning's answer to a Ctrl-C that nobody caught
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if not first:
        raise SystemExit(0)
    if journal.stop and training.steps_done < training.length.total:
        raise Interrupted(journal.stop, training.steps_done, training.length, run.folder)
    if not (run.folder / WEIGHTS).exists():
        raise UserError(
            f"{run.folder} has no model: its validation loss was no number whenever it was asked, as where train.lr is "
            "too high"
        )
    return run


class _Bar(TQDMProgressBar):
    """Over the steps of the run, which Lightning holds for one epoch."""

    def on_train_epoch_start(self, trainer: Trainer, module: Training, *_: Any) -> None:
        super().on_train_epoch_start(trainer, module)
        self.train_progress_bar.set_description(f"from step {module.steps_done}" if module.steps_done else "steps")


def _trainer(train: TrainConfig, run: Run, callbacks: list[Callback]) -> Trainer:
    device = pick_device(train.device)
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, train.devices)
    if train.devices > (1 if device.index is not None else present):
        raise UserError(f"train.devices={train.devices}, but train.device={train.device} has {present} here")
    return Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[device.index] if device.index is not None else train.devices,
        plugins=[LightningEnvironment()],
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
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
