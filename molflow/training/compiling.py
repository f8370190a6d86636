"""What takes the host out of a step: compiled layers, CUDA graphs of a network's passes and of the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import compress
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.census import CENSUS

PROGRAMS = 64  # of one function, for layers of several widths; torch gives up at eight
WARM = 1  # passes before a graph is captured, besides the one that ran as written


class Compiled:
    """A network as training calls it.

    "layers" compiles the layers one by one, for batches of any shape: they are alike, so there are few programs, of
    the first layer and of the others, with a gradient and without. "graphs" compiles nothing: it records what the
    network does with a shape, forward and backward, and has the device replay it, so that the host launches two graphs
    and not thousands of kernels.
    """

    def __init__(self, network: nn.Module, how: Literal["none", "layers", "graphs"]):
        self.network = network
        self.graphs: Graphs | None = None
        if how == "graphs":
            if not getattr(network, "whole", True):
                raise UserError(
                    "train.compile=graphs: what this network does depends on what is in a batch, its times or who is "
                    "near whom, and a graph holds one program: take train.compile=layers or none"
                )
            self.graphs = Graphs(network)
        elif how == "layers":
            torch._dynamo.config.recompile_limit = PROGRAMS  # type: ignore[attr-defined]
            torch._dynamo.config.optimize_ddp = False  # which would cut a layer in two, and fails where shapes vary
            torch._dynamo.config.accumulated_recompile_limit = 4 * PROGRAMS  # type: ignore[attr-defined]
            for part in _parts(network):
                part.compile(dynamic=True)

    def check(self, device: torch.device) -> None:
        """A UserError where the device cannot do it."""
        if self.graphs is not None and device.type != "cuda":
            raise UserError(f"train.compile=graphs is for a CUDA device, and this is {device}: take layers or none")

    def __call__(self, x: Batch, t: Tensor, **given: Any) -> dict[str, Tensor]:
        """What the network predicts."""
        self.check(x.device)
        return (self.graphs or self.network)(x, t, **given)


class Graphs:
    """A network on a CUDA device whose passes are recorded when inputs of a shape come again, then replayed.

    Graphs share one pool of memory, and one place for the weights' gradients. So a backward pass belongs to the latest
    forward pass.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.known: dict[tuple, _Recorded | None] = {}  # None: has come once
        self.grads: list[Tensor] = []  # of the weights
        self.pool: Any = None

    def __call__(self, x: Batch, t: Tensor, **given: Any) -> dict[str, Tensor]:
        fields = {"mask": x.mask, **{name: getattr(x, name) for name in x.fields}}
        fields["props"] = {name: value for name, value in x.props.items() if name == CENSUS}
        tensors, form = tree_flatten((fields, t, {name: value for name, value in given.items() if value is not None}))
        shapes = tuple((value.shape, value.dtype) for value in tensors)
        key = (str(form), shapes, torch.is_autocast_enabled(x.device.type))
        if key not in self.known:
            self.known[key] = None
            return self.network(x, t, **given)
        recorded = self.known[key]
        if recorded is None:
            self.pool = self.pool or torch.cuda.graph_pool_handle()
            self.grads = self.grads or [torch.empty_like(weight) for weight in self.weights]
            recorded = self.known[key] = _Recorded(self, tensors, form)
        return dict(zip(recorded.names, _Replay.apply(recorded, *tensors, *self.weights)))


class _Recorded:
    """The two passes of one shape, with the memory that they read and write."""

    names: list[str]  # of what the network predicts
    predicted: list[Tensor]  # by the latest forward pass, with its graph of autograd
    grads: list[Tensor]  # of the loss, by what is predicted

    def __init__(self, graphs: Graphs, tensors: list[Tensor], form: TreeSpec):
        self.to_weights = graphs.grads
        self.inputs = [value.clone() for value in tensors]
        fields, t, given = tree_unflatten(self.inputs, form)

        def forward() -> list[Tensor]:
            predicted = graphs.network(Batch(**fields), t, **given)
            self.names, self.predicted = list(predicted), list(predicted.values())
            return self.predicted

        def backward() -> tuple[()]:
            with torch.autocast(t.device.type, enabled=False):  # each product in the precision of its forward pass
                learnt = [value.requires_grad for value in self.predicted]
                predicted, grads = (list(compress(part, learnt)) for part in (self.predicted, self.grads))
                found = torch.autograd.grad(predicted, graphs.weights, grads)
            torch._foreach_copy_(self.to_weights, list(found))
            return ()

        def both() -> None:
            self.grads = [torch.zeros_like(value) for value in forward()]
            backward()
            self.predicted = []

        with torch.enable_grad():
            _warm_up(both)
            outputs, self.forward = _record(forward, graphs.pool)
            _, self.backward = _record(backward, graphs.pool)
        self.outputs = [value.detach() for value in outputs]
        self.predicted = []


class RecordedStep:
    """An optimiser's step on a CUDA device, recorded when it is first taken and then replayed.

    ``take`` takes it, from the weights' gradients and the learning rates of the optimiser's groups, and tells on the
    device whether it did; where a gradient is no number it must change nothing.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], take: Callable[[], Tensor]):
        self.optimizer, self.weights, self.take = optimizer, weights, take
        self.grads = [torch.full_like(weight, torch.nan) for weight in weights]  # until there are some
        self.rates = [torch.zeros((), device=weights[0].device) for _ in optimizer.param_groups]
        with self._reading_own_memory():
            _warm_up(take)
            for group in optimizer.param_groups:
                group["capturable"] = True  # by which torch lets itself be recorded
            (self.taken,), self.replay = _record(lambda: [take()], None)

    def __call__(self) -> Tensor:
        """Whether the step was taken."""
        grads = [weight.grad for weight in self.weights if weight.grad is not None]
        if len(grads) < len(self.weights):
            return self.take()
        torch._foreach_copy_(self.grads, grads)
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            rate.fill_(group["lr"])
        self.replay()
        return self.taken.clone()

    @contextmanager
    def _reading_own_memory(self) -> Iterator[None]:
        kept = [weight.grad for weight in self.weights]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for weight, grad in zip(self.weights, self.grads):
            weight.grad = grad
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate
        try:
            yield
        finally:
            for weight, grad in zip(self.weights, kept):
                weight.grad = grad
            for group, rate in zip(self.optimizer.param_groups, rates):
                group.update(lr=rate, capturable=False)


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
        return tuple(value.clone() for value in recorded.outputs)  # the next replay writes over them

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
