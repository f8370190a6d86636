"""Which device computes, and its fast roads for matrix products, in fp32 and in bf16."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError, unknown

CPU = torch.device("cpu")
DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str = "auto") -> torch.device:
    """The device asked for, or the best there is; one that is absent is an error, never a silent CPU."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in present if present[kind]))
    kind, _, index = name.partition(":")
    if kind not in present:
        raise unknown("device", name, DEVICES)
    if not present[kind]:
        raise UserError(f"no {kind} device here; take cpu, or auto for the best there is")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if index and (not index.isdecimal() or int(index) >= count):
        raise UserError(f"no device {name!r}: of {kind} this machine has {count}, numbered from 0")
    return torch.device(name if kind != "cpu" else kind)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the CPU, has said that it has no memory left."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in words)


@contextmanager
def fast_matmul(device: torch.device = CPU) -> Iterator[None]:
    """fp32 matrix products by oneDNN on a CPU, several times faster than the default library on some, and as exact.

    torch takes that road when bf16 is allowed inside the product. Only tile units would then use it, so CPUs that have
    them keep the default. For another device nothing is set: torch's compiler asks for the setting by its old name.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    if device.type == "cpu" and not torch.cpu._is_amx_tile_supported():
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def multiplies_bf16(device: torch.device) -> bool:
    """Whether it has instructions for products of bf16, so that these take less time than those of fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # older ones emulate it
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def in_bf16(network: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    """A network that multiplies features in bf16; what it predicts comes in the precision of the coordinates."""

    def read(x: Batch, t: Tensor, **given: Any) -> dict[str, Tensor]:
        # no cache: weights cast under no_grad, for a hint, must not serve a pass that learns, nor a graph
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            pred = network(x, t, **given)
        return {name: value.to(x.pos.dtype) for name, value in pred.items()}

    return read


def wait_for(device: torch.device) -> None:
    """Until all work given to it is done; a CPU has done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Leash:
    """Lets the host run a few steps ahead of a device and no further: neither waits idly, and times stay meaningful."""

    def __init__(self, device: torch.device, steps: int = 2):
        self.device, self.steps = device, steps
        self._events: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        """A step has been given to the device."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > self.steps:
            self._events.popleft().synchronize()


def saved_bytes(forward: Callable[[], Any], weights: Iterable[Tensor] = ()) -> int:
    """Bytes that a forward pass keeps for its backward pass, each piece of memory once, without the weights."""
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    kept = {}

    def keep(value: Tensor) -> Tensor:
        memory = value.untyped_storage()
        kept[memory.data_ptr()] = memory  # held, so that no later tensor gets the same address
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        out = forward()
    del out
    return sum(memory.nbytes() for place, memory in kept.items() if place not in known)
