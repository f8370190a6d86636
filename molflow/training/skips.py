"""Steps whose loss or gradient was not finite: noted on the device, read from it a few at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from molflow.build import UserError

IN_A_ROW = 3


class Skips:
    """Counts the steps that were skipped; reading a flag waits for the device, so flags are read together."""

    def __init__(self) -> None:
        self.count = 0
        self._row = 0
        self._unread: list[tuple[int, Tensor]] = []

    def note(self, step: int, finite: Tensor) -> None:
        """Remember whether a step was taken, without asking the device."""
        self._unread.append((step, finite))

    def read(self) -> list[int]:
        """The steps skipped since the last reading; three in a row are an error."""
        if not self._unread:
            return []
        steps, flags = zip(*self._unread)
        self._unread.clear()
        skipped = []
        for step, finite in zip(steps, torch.stack(flags).tolist()):
            self._row = 0 if finite else self._row + 1
            if not finite:
                skipped.append(step)
                self.count += 1
            if self._row == IN_A_ROW:
                raise UserError(
                    f"three batches in a row without a finite gradient, the last at step {step + 1}; what was "
                    "saved before is kept. Lower train.lr or raise train.warmup and start another run"
                )
        return skipped
