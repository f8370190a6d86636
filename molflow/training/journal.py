"""What a run writes down as it goes: figures, checkpoints, the best model; and what it does when asked to stop."""

from __future__ import annotations

import signal
import threading
import time

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from molflow.checkpoint import save
from molflow.device import wait_for
from molflow.run import Run, made_with
from molflow.training.judge import MOST, columns, sample_scores, validation_losses
from molflow.training.length import Minutes
from molflow.training.module import Training

SAVE_SECONDS = 300  # between checkpoints, besides those at validations
FIGURES_EVERY = 50  # steps, between readings of what the device has found
TOGETHER_EVERY = 10  # steps, after which several processes agree whether to stop


class Journal(Callback):
    """Validates, logs and saves as the run goes, and turns Ctrl-C and SIGTERM into a saved stop."""

    def __init__(self, run: Run):
        self.run = run
        self.stop: signal.Signals | None = None
        self.began = self.saved = self.lap = 0.0  # seconds of a clock
        self.seconds_before = 0.0  # of a run that is resumed
        self.molecules_before = 0

    def on_train_start(self, trainer: Trainer, module: Training) -> None:
        self.began = self.saved = self.lap = time.monotonic()
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
        step, length, now = module.steps_done, module.length, time.monotonic()
        module.seconds = self.seconds_before + now - self.began
        if isinstance(length, Minutes):
            length.lap(now - self.lap)
        judge = length.is_time_to_judge(step, module.config.train.validate)
        if judge or step == 1 or step % FIGURES_EVERY == 0:
            module.report_skips()
            speed = (module.molecules - self.molecules_before) / (now - self.began)
            losses = {name: float(value) for name, value in module.last_losses.items()}
            module.log_dict({**losses, "mol/s": speed}, prog_bar=True, logger=False)
            self.write(trainer, module, {**losses, "lr": module.lr, "molecules_per_second": round(speed, 1)})
        stop = self.stop is not None
        if trainer.world_size > 1 and step % TOGETHER_EVERY == 0:  # a signal may have reached one process alone
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
            self.stop = self.stop or (signal.SIGTERM if stop else None)
        elif trainer.world_size > 1:
            stop = False
        if judge:
            self.judge(trainer, module)
        elif stop or time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer, module)
        if isinstance(length, Minutes):
            self.think_over(trainer, module, length)
            if not judge and step >= length.total:  # the minutes are over sooner than was thought
                self.judge(trainer, module)
            self.lap = time.monotonic()
        trainer.should_stop = trainer.should_stop or stop or step >= length.total

    def think_over(self, trainer: Trainer, module: Training, length: Minutes) -> None:
        """Where it is time to, fix the number of steps that the minutes allow, for all processes the first one's."""
        step, validate = module.steps_done, module.config.train.validate
        due = step < length.total and length.is_due(step, module.seconds, validate)
        if trainer.world_size > 1 and (not length.decided or step % TOGETHER_EVERY == 0):
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        elif trainer.world_size > 1:
            due = False
        if not due:
            return
        wait_for(module.device)
        module.seconds = self.seconds_before + time.monotonic() - self.began
        speed = (module.molecules - self.molecules_before) / (time.monotonic() - self.began)
        sampled = module.config.train.samples * module.config.sample.steps
        guess = (MOST + sampled) / (3 * speed)  # a prediction is a third of a step
        length.change(step, trainer.strategy.broadcast(length.decide(step, module.seconds, validate, guess)))
        self.write(trainer, module, {})
        if trainer.is_global_zero:
            tqdm.write(f"step {step}: {length.total:,} steps fill {length.minutes:g} minutes")
            if not length.judgement and guess > length.for_judging:
                asked = f"fewer train.samples than {module.config.train.samples}, or of fewer sample.steps"
                tqdm.write(f"note: a validation may take {guess:.0f} s, and end late; {asked}, make it shorter")
        self.save(trainer, module)  # so that no resumed run has to decide this again

    def judge(self, trainer: Trainer, module: Training) -> None:
        """Validation loss and a score of samples; the model is written when its loss is the lowest so far."""
        wait_for(module.device)
        began = time.monotonic()
        if trainer.is_global_zero:
            figures = validation_losses(module) | sample_scores(module)
            loss = figures.get("val_loss")
            if loss is None or loss < module.best:
                module.best = module.best if loss is None else loss
                provenance = {**made_with(), "steps": module.steps_done, "molecules": module.molecules}
                save(self.run.folder, module.average.state_dict(), module.config, module.facts, provenance)
            self.write(trainer, module, figures)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            tqdm.write(f"step {module.steps_done}: {shown or 'saved'}")
        trainer.strategy.barrier()
        if isinstance(module.length, Minutes):
            module.length.has_judged(module.steps_done, trainer.strategy.broadcast(time.monotonic() - began))
        module.seconds = self.seconds_before + time.monotonic() - self.began
        self.save(trainer, module)

    def save(self, trainer: Trainer, module: Training) -> None:
        module.report_skips()
        if trainer.is_global_zero:
            self.run.write_checkpoint(module.state())
        self.saved = time.monotonic()

    def write(self, trainer: Trainer, module: Training, figures: dict[str, float]) -> None:
        if trainer.is_global_zero:
            row = {"step": module.steps_done, "molecules": module.molecules, "seconds": round(module.seconds, 1)}
            if isinstance(module.length, Minutes) and module.length.decided:
                row["steps_planned"] = module.length.total
            self.run.append(columns(module), {**row, **figures})
            for logger in trainer.loggers:
                logger.log_metrics(figures, module.steps_done)
