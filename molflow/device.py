"""Which device computes, and its fast road for fp32 matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from molflow.build import UserError, unknown

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
        raise UserError(f"no {kind} device here; use --device cpu, or auto for the best there is")
    if index and (not index.isdecimal() or int(index) >= torch.cuda.device_count()):
        raise UserError(f"no device {name!r}: this machine has {torch.cuda.device_count()} of them")
    return torch.device(name)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the CPU, has said that it has no memory left."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in words)


@contextmanager
def fast_matmul() -> Iterator[None]:
    """fp32 matrix products by oneDNN on a CPU, several times faster than the default library on some, and as exact.

    torch takes that road when bf16 is allowed inside the product. Only tile units would then use it, so CPUs that have
    them keep the default.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    if not torch.cpu._is_amx_tile_supported():
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
