"""The state, the time and the hint as features of atoms and of pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from molflow.batch import PAIR_FIELDS, Batch
from molflow.networks.network import Hint, Widths

TIME_FEATURES = 16


def time_features(t: Tensor) -> Tensor:
    """t and its first waves, [B] -> [B, 16]."""
    waves = torch.arange(1, TIME_FEATURES // 2, device=t.device, dtype=t.dtype) * math.pi
    angles = t[:, None] * waves
    return torch.cat([t[:, None], 1 - t[:, None], angles.cos(), angles.sin()], 1)


class Clock(nn.Module):
    """The time and, for a network that leaps, the ``span`` of the leap, as features [B, 16].

    A span of zero adds nothing, and an untrained one adds nothing either: weights learnt without
    spans go on as they were.
    """

    def __init__(self, spans: bool):
        super().__init__()
        self.span = nn.Linear(TIME_FEATURES, TIME_FEATURES, bias=False) if spans else None
        if self.span is not None:
            nn.init.zeros_(self.span.weight)

    def forward(self, t: Tensor, span: Tensor | None, dtype: torch.dtype) -> Tensor:
        time = time_features(t.to(dtype))
        if self.span is None:
            return time
        none = torch.zeros_like(t, dtype=dtype)  # read all the same: every weight has a gradient in every step
        span = none if span is None else span.to(dtype)
        return time + self.span(time_features(span) - time_features(none))


def channels(value: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """A label state as channels: class indices become one-hot, a distribution stays."""
    return value.to(dtype) if value.is_floating_point() else one_hot(value, width).to(dtype)


class LabelInputs:
    """Concatenates the label fields of atoms, or of pairs, with their hints; ``width`` is the number of channels."""

    def __init__(self, fields: Widths, pairs: bool):
        self.fields = {name: widths for name, widths in fields.items() if (name in PAIR_FIELDS) == pairs}
        self.width = sum(states + classes for states, classes in self.fields.values())

    def places(self, fewer: LabelInputs) -> Tensor:
        """Where the channels of the same fields with fewer classes are among these: new classes come after the old."""
        out, start = [], 0
        for name, (states, classes) in self.fields.items():
            known_states, known = fewer.fields[name]
            out += [start + j + (classes - known) * (j >= known) for j in range(known_states)]  # a mask stays last
            out += [start + states + j for j in range(known)]
            start += states + classes
        return torch.tensor(out, dtype=torch.long)

    def __call__(self, x: Batch, hint: Hint | None) -> list[Tensor]:
        parts = []
        for name, (states, classes) in self.fields.items():
            value = channels(getattr(x, name), states, x.pos.dtype)
            parts += [value, hint[name] if hint else value.new_zeros(*value.shape[:-1], classes)]
        return parts
