"""torch.compile for training: one program for each common shape of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from molflow.batch import Batch
from molflow.build import UserError
from molflow.data.loader import BatchPlan

Shape = tuple[int, int]  # molecules, atoms
COMMON = 0.01  # share of an epoch's batches from which a shape is worth a compilation
MOST_PROGRAMS = 256  # of one function; torch gives up at eight


class Compiled:
    """A network whose layers are compiled, for the shapes that are common; batches of other shapes run as written.

    "layers" compiles the layers one by one: they are alike, so a shape takes two programs, of the first layer and of
    the others, not one a layer. "graphs" compiles the network whole and replays each shape as one CUDA graph.
    """

    def __init__(self, network: nn.Module, how: Literal["none", "layers", "graphs"], shapes: Sequence[Shape]):
        self.how, self.shapes = how, frozenset(shapes) if how != "none" else frozenset()
        if how == "none":
            return
        if how == "graphs" and not getattr(network, "whole", True):
            raise UserError(
                "train.compile=graphs: this network chooses its way by the times of a batch, and a graph holds one: "
                "take train.compile=layers"
            )
        torch._dynamo.config.recompile_limit = MOST_PROGRAMS  # type: ignore[attr-defined]
        torch._dynamo.config.accumulated_recompile_limit = 4 * MOST_PROGRAMS  # type: ignore[attr-defined]
        if how == "graphs":
            network.compile(mode="reduce-overhead", dynamic=False)
        else:
            for part in _parts(network):
                part.compile(dynamic=False)

    def __call__(self, x: Batch) -> AbstractContextManager[Any]:
        """The context in which a batch is computed."""
        if self.how == "none" or tuple(x.mask.shape) in self.shapes:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    def next_step(self) -> None:
        """What earlier steps left in the memory of a graph may go."""
        if self.how == "graphs":
            torch.compiler.cudagraph_mark_step_begin()


def _parts(network: nn.Module) -> Iterator[nn.Module]:
    layers = getattr(network, "layers", None)
    yield from layers if isinstance(layers, nn.ModuleList) else [network]


def common_shapes(plan: BatchPlan) -> list[Shape]:
    """The shapes that make up most of an epoch, most frequent first; every epoch has the same.

    >>> common_shapes(BatchPlan([4] * 10 + [5] * 3, pairs=50, shuffle=False))
    [(3, 4), (2, 5), (1, 4), (1, 5)]
    """
    counts = Counter((len(batch), int(plan.sizes[batch].max())) for batch in plan.epoch(0))
    return [shape for shape, count in counts.most_common() if count >= COMMON * len(plan)]
