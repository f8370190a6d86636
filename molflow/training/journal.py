"""What a run writes down as it goes: figures, checkpoints, the best model; and what it does when asked to stop."""

from __future__ import annotations

import signal
import threading
import time

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from molflow.checkpoint import save
from molflow.run import Run, versions
from molflow.training.judge import columns, sample_scores, validation_losses
from molflow.training.module import Training

SAVE_SECONDS = 300  # between checkpoints, besides those at validations
FIGURES_EVERY = 50  # steps


class Journal(Callback):
    """Validates, logs and saves as the run goes, and turns Ctrl-C and SIGTERM into a saved stop."""

    def __init__(self, run: Run):
        self.run = run
        self.stop: signal.Signals | None = None
        self.began = self.saved = 0.0
        self.seconds_before = 0.0  # of a run that is resumed
        self.molecules_before = 0

    def on_train_start(self, trainer: Trainer, module: Training) -> None:
        self.began = self.saved = time.monotonic()
        self.seconds_before, self.molecules_before = module.seconds, module.molecules
        if threading.current_thread() is threading.main_thread():  # no other may; fit restores the handlers
            signal.signal(signal.SIGINT, self.on_signal)
            signal.signal(signal.SIGTERM, self.on_signal)

    def on_signal(self, number: int, frame) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = signal.Signals(number)
        tqdm.write(f"{self.stop.name}: stopping after this step; once more stops at once, without saving")

    def on_train_batch_end(self, trainer: Trainer, module: Training, outputs, batch, index: int) -> None:
        step, total = module.steps_done, module.total_steps(trainer.world_size)
        module.seconds = self.seconds_before + time.monotonic() - self.began
        every = max(1, total // max(1, module.config.train.validate))
        if step % min(every, FIGURES_EVERY) == 0 or step in (1, total):
            speed = (module.molecules - self.molecules_before) / (time.monotonic() - self.began)
            losses = {name: float(value) for name, value in module.last_losses.items()}
            module.log_dict({**losses, "mol/s": speed}, prog_bar=True, logger=False)
            self.write(trainer, module, {**losses, "lr": module.lr, "molecules_per_second": round(speed, 1)})
        stop = self.stop is not None
        if trainer.world_size > 1:  # a signal may have reached one process alone
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
            self.stop = self.stop or (signal.SIGTERM if stop else None)
        if step % every == 0 or step == total:
            self.judge(trainer, module)
        elif stop or time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer, module)
        trainer.should_stop = trainer.should_stop or stop

    def judge(self, trainer: Trainer, module: Training) -> None:
        """Validation loss and a score of samples; the model is written when its loss is the lowest so far."""
        if trainer.is_global_zero:
            figures = validation_losses(module) | sample_scores(module)
            loss = figures.get("val_loss")
            if loss is None or loss < module.best:
                module.best = module.best if loss is None else loss
                provenance = {**versions(), "steps": module.steps_done, "molecules": module.molecules}
                save(self.run.folder, module.average.state_dict(), module.config, module.facts, provenance)
            self.write(trainer, module, figures)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            tqdm.write(f"step {module.steps_done}: {shown or 'saved'}")
        trainer.strategy.barrier()
        self.save(trainer, module)

    def save(self, trainer: Trainer, module: Training) -> None:
        if trainer.is_global_zero:
            self.run.write_checkpoint(module.state())
        self.saved = time.monotonic()

    def write(self, trainer: Trainer, module: Training, figures: dict[str, float]) -> None:
        if trainer.is_global_zero:
            row = {"step": module.steps_done, "molecules": module.molecules, "seconds": round(module.seconds, 1)}
            self.run.append(columns(module), {**row, **figures})
            for logger in trainer.loggers:
                logger.log_metrics(figures, module.steps_done)
