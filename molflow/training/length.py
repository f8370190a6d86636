"""How long a run is: a number of steps, or minutes that are turned into one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molflow.config import TrainConfig

CHECKS = (0.02, 0.1, 0.5, 0.9)  # shares of a run at which its number of steps is thought over
ONLY_SHORTER = 0.5  # from this share on, steps are taken away and never added
WARM, MEASURED = 3, 20  # steps of a process that tell nothing of its speed, and those that are timed after them
SOONER = 0.1  # or fewer, after this share of the minutes
GUESS = 10.0  # steps a second, until they have been timed
JUDGING = 0.2  # at most this share of the minutes goes to validation
OUTLIER = 5.0  # times the lower quartile: a compilation, a machine that slept


def learning_rate(done: float, each: float, train: TrainConfig) -> float:
    """The rate of the step that leads from the share ``done`` of the run to ``done + each``.

    A linear warm-up to ``lr``, then to zero: linearly, or along a cosine.
    """
    if done < train.warmup:
        return train.lr * min(1.0, (done + each) / train.warmup)
    left = (1 - done) / (1 - train.warmup)
    return train.lr * (left if train.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


@dataclass(frozen=True)
class Turn:
    """From ``step`` on, where ``share`` of the run is done, the rest is spread evenly over the steps to ``total``."""

    step: int
    share: float
    total: int


class Length:
    """The share of a run that is done at each step; a later change of the number of steps leaves no jump in it.

    >>> length = Length(100)
    >>> length.share(25)
    0.25
    >>> length.change(25, 175)
    >>> length.share(25), length.share(100), length.share(175)
    (0.25, 0.625, 1.0)
    """

    def __init__(self, total: int):
        self.turns = [Turn(0, 0.0, total)]

    @property
    def total(self) -> int:
        return self.turns[-1].total

    def share(self, step: int) -> float:
        """Of the run, after ``step`` steps; it is asked for steps after the last change alone."""
        last = self.turns[-1]
        if step >= last.total:
            return 1.0
        return last.share + (1 - last.share) * (step - last.step) / (last.total - last.step)

    def change(self, step: int, total: int) -> None:
        """Another number of steps, decided after ``step``."""
        self.turns.append(Turn(step, self.share(step), max(step, total)))

    def is_time_to_judge(self, step: int, validate: int) -> bool:
        """Whether ``step`` completes one more of ``validate`` equal parts of the run."""
        times = self.validations(validate)
        before, after = (math.floor(self.share(s) * times + 1e-9) for s in (step - 1, step))
        return after > before or step >= self.total

    def validations(self, asked: int) -> int:
        """How often the run is validated."""
        return asked

    def __str__(self) -> str:
        return str(self.total)


class Minutes(Length):
    """A length in minutes: steps are timed, their number is fixed from that, and thought over at a few shares.

    ``seconds`` are those that training has taken so far, in all pieces of the run; what is decided is kept in
    ``turns``, so that a resumed run goes on with it.
    """

    def __init__(self, minutes: float, step: int = 0, seconds: float = 0.0):
        super().__init__(0)
        self.minutes = minutes
        left = self.seconds_of_all - seconds
        rest = 0 if left <= 0 else max(1000, round(GUESS * left))
        self.turns = [Turn(step, min(1.0, seconds / self.seconds_of_all), step + rest)]
        self.judgement = 0.0  # seconds of the last validation with its samples
        self.judged = self.turns[0].share  # of the run, when that was
        self._laps: list[float] = []
        self._warm = WARM

    @property
    def seconds_of_all(self) -> float:
        return 60 * self.minutes

    @property
    def for_judging(self) -> float:
        """Seconds that validations may take."""
        return JUDGING * self.seconds_of_all

    @property
    def decided(self) -> bool:
        """Whether the number of steps comes from a measurement."""
        return len(self.turns) > 1

    def __str__(self) -> str:
        return f"{self.total:,} steps, {self.minutes:g} minutes" if self.decided else f"{self.minutes:g} minutes"

    def validations(self, asked: int) -> int:
        """As often as asked, or less where that took too much of the time."""
        most = self.for_judging / self.judgement if self.judgement else asked
        return max(1, min(asked, math.floor(most)))

    def is_time_to_judge(self, step: int, validate: int) -> bool:
        """Whether one more of as many parts is done since the last time, and not so little is left as to let it be."""
        part, share = 1 / self.validations(validate), self.share(step)
        return step >= self.total or (share >= self.judged + part - 1e-9 and share <= 1 - part / 2)

    def has_judged(self, step: int, seconds: float) -> None:
        """A validation with its samples came after ``step`` and took so long."""
        self.judgement, self.judged = seconds, self.share(step)

    def lap(self, seconds: float) -> None:
        """One step took so long, the wait for its batch included, validation left out."""
        if self._warm:
            self._warm -= 1
        else:
            self._laps.append(seconds)

    def is_due(self, step: int, seconds: float, validate: int) -> bool:
        """Whether the number of steps is to be decided now."""
        if len(self._laps) < MEASURED:
            return bool(self._laps) and not self.decided and seconds > SOONER * self.seconds_of_all
        # the second check comes after the first validation, whose time is then known
        checks = [max(check, 1 / validate) if k == 1 else check for k, check in enumerate(CHECKS)]
        share = self.share(step)
        return not self.decided or any(self.turns[-1].share < check <= share for check in checks)

    def decide(self, step: int, seconds: float, validate: int, judgement: float) -> int:
        """The number of steps that fills the minutes beside validations to come; ``judgement`` guesses one's time."""
        share, times = self.share(step), self.validations(validate)
        each = self.judgement or min(judgement, self.for_judging / times)
        to_come = 1 + max(0, math.floor((1 - self.judged) * times - 0.5 + 1e-9))
        left = self.seconds_of_all - seconds - each * to_come
        total = step + max(0, math.floor(left / pace(self._laps)))
        if self.decided and share >= ONLY_SHORTER:
            total = min(total, self.total)
        self._laps.clear()
        return total

    # -- what a checkpoint holds of it

    def state(self) -> dict[str, Any]:
        turns = [[turn.step, turn.share, turn.total] for turn in self.turns]
        return {"minutes": self.minutes, "judgement": self.judgement, "judged": self.judged, "turns": turns}

    @classmethod
    def resumed(cls, state: dict[str, Any] | None, minutes: float, step: int, seconds: float) -> Minutes:
        """As the checkpoint says; a run that had another length has the share done that its seconds are of the new."""
        length = cls(minutes, step, seconds)
        if state and state["minutes"] == minutes:
            length.turns = [Turn(*turn) for turn in state["turns"]]
            length.judgement = state["judgement"]
            length.judged = state.get("judged", length.share(step))  # none in a run of an earlier version
        return length


def pace(laps: Sequence[float]) -> float:
    """Mean seconds a step; what lies far above the lower quartile counts as that."""
    low = sorted(laps)[len(laps) // 4]
    return statistics.fmean(lap if lap < OUTLIER * low else low for lap in laps)
