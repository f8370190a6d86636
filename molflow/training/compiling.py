"""What takes the host out of a step: compiled layers, or a CUDA graph for each common shape of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from molflow.batch import Batch
from molflow.build import UserError
from molflow.data.loader import BatchPlan

Shape = tuple[int, int]  # molecules, atoms
COMMON = 0.01  # share of an epoch's batches from which a shape is worth a compilation
MOST_PROGRAMS = 256  # of one function; torch gives up at eight
WARM = 2  # passes before a graph is captured, in which libraries make their plans


class Compiled:
    """A network as training calls it; batches of shapes that are not common run as written.

    "layers" compiles the layers one by one: they are alike, so a shape takes two programs, of the first layer and of
    the others, not one a layer. "graphs" compiles nothing: it records what the network does with a shape, forward and
    backward, and has the device replay it, so that the host launches two graphs and not thousands of kernels.
    """

    def __init__(self, network: nn.Module, how: Literal["none", "layers", "graphs"], shapes: Sequence[Shape]):
        self.network, self.how = network, how
        self.shapes = frozenset(shapes) if how != "none" else frozenset()
        self.graphs: Graphs | None = None
        if how == "graphs":
            if not getattr(network, "whole", True):
                raise UserError(
                    "train.compile=graphs: this network chooses its way by the times of a batch, and a graph holds "
                    "one: take train.compile=layers"
                )
            self.graphs = Graphs(network)
        elif how == "layers":
            torch._dynamo.config.recompile_limit = MOST_PROGRAMS  # type: ignore[attr-defined]
            torch._dynamo.config.accumulated_recompile_limit = 4 * MOST_PROGRAMS  # type: ignore[attr-defined]
            for part in _parts(network):
                part.compile(dynamic=False)

    def check(self, device: torch.device) -> None:
        """A UserError where the device cannot do it."""
        if self.graphs is not None and device.type != "cuda":
            raise UserError(f"train.compile=graphs is for a CUDA device, and this is {device}: take layers or none")

    def __call__(self, x: Batch, t: Tensor, **given: Any) -> dict[str, Tensor]:
        """What the network predicts."""
        common = tuple(x.mask.shape) in self.shapes
        self.check(x.device)
        if self.graphs is not None and common:
            return self.graphs(x, t, **given)
        if self.how == "layers" and not common:
            with torch.compiler.set_stance("force_eager"):
                return self.network(x, t, **given)
        return self.network(x, t, **given)


class Graphs:
    """A network on a CUDA device whose passes are recorded the first time that inputs of a shape come, then replayed.

    Graphs share one pool of memory. So what a replay returns lasts until the next replay of the same shape, and a
    backward pass belongs to the latest forward pass.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.known: dict[tuple, _Recorded] = {}
        self.pool: Any = None

    def __call__(self, x: Batch, t: Tensor, **given: Any) -> dict[str, Tensor]:
        fields = {"mask": x.mask, **{name: getattr(x, name) for name in x.fields}}
        tensors, form = tree_flatten((fields, t, {name: value for name, value in given.items() if value is not None}))
        shapes = tuple((value.shape, value.dtype) for value in tensors)
        key = (str(form), shapes, torch.is_autocast_enabled(x.device.type))
        if key not in self.known:
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            self.known[key] = _Recorded(self.network, self.weights, tensors, form, self.pool)
        recorded = self.known[key]
        return dict(zip(recorded.names, _Replay.apply(recorded, *tensors, *self.weights)))


class _Recorded:
    """The two passes of one shape, with the memory that they read and write."""

    names: list[str]  # of what the network predicts
    predicted: list[Tensor]  # by the latest forward pass, with its graph of autograd
    grads: list[Tensor]  # of the loss, by what is predicted

    def __init__(
        self, network: nn.Module, weights: list[nn.Parameter], tensors: list[Tensor], form: TreeSpec, pool: Any
    ):
        self.inputs = [value.clone() for value in tensors]
        fields, t, given = tree_unflatten(self.inputs, form)

        def forward() -> list[Tensor]:
            predicted = network(Batch(**fields), t, **given)
            self.names, self.predicted = list(predicted), list(predicted.values())
            return self.predicted

        def backward() -> tuple[Tensor, ...]:
            return torch.autograd.grad(self.predicted, weights, self.grads)

        def both() -> None:
            self.grads = [torch.zeros_like(value) for value in forward()]
            backward()
            self.predicted = []

        with torch.enable_grad():
            _warm_up(both)
            outputs, self.forward = _record(forward, pool)
            self.to_weights, self.backward = _record(backward, pool)
        self.outputs = [value.detach() for value in outputs]
        self.predicted = []


def _warm_up(function: Callable[[], Any]) -> None:
    """On a stream of its own, as what is recorded next asks for."""
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(WARM):
            function()
    here.wait_stream(aside)


def _record(function: Callable[[], Any], pool: Any) -> tuple[Any, Callable[[], None]]:
    """What it returns, in memory that the other result fills anew: what the device did, done again."""
    graph = torch.cuda.CUDAGraph()
    # other threads may use the device meanwhile, as the one does that pins batches
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        made = function()
    return made, graph.replay


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recorded: _Recorded, *tensors: Tensor) -> tuple[Tensor, ...]:
        torch._foreach_copy_(recorded.inputs, list(tensors[: len(recorded.inputs)]))
        recorded.forward()
        ctx.recorded = recorded
        return tuple(value.detach() for value in recorded.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        recorded: _Recorded = ctx.recorded
        torch._foreach_copy_(recorded.grads, list(grads))
        recorded.backward()
        return (None, *(None for _ in recorded.inputs), *(grad.detach() for grad in recorded.to_weights))


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
