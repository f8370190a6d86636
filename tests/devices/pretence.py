"""A device that is none, so that what a GPU would run is tried where there is no GPU.

Its tensors stand on "meta" and have values all the same. Whatever mixes them with tensors of the CPU fails, as it would
with a GPU's; whatever makes the host wait for them, by reading one back or by copying one over, is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
PLACE = torch.device("meta")
COPIES = {aten._to_copy.default, aten.copy_.default}
READS = {  # what has a result of which the host must know, if only the shape
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
}


class There(torch.Tensor):
    """A tensor on the device; ``value`` is what it holds."""

    value: torch.Tensor

    @staticmethod
    def __new__(cls, value: torch.Tensor):
        form = {"dtype": value.dtype, "layout": value.layout, "storage_offset": value.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, value.size(), value.stride(), device=PLACE, **form)

    def __init__(self, value: torch.Tensor):
        self.value = value

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on a tensor of the device, which is there no longer")


class Device(TorchDispatchMode):
    """Computes with the values of its tensors, and notes in ``waits`` what the host would wait for."""

    def __init__(self):
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [x for x in tensors if isinstance(x, There)]
        here = [x for x in tensors if not isinstance(x, There)]
        target = kwargs.get("device")
        arrives = target is not None and torch.device(target) == PLACE
        if not there and not arrives:
            return func(*args, **kwargs)
        if there and func not in COPIES and any(x.ndim for x in here):
            raise RuntimeError(f"{func} of tensors on two devices; on the CPU are {[tuple(x.shape) for x in here]}")
        leaves = not arrives if target is not None else func is aten.copy_.default and not isinstance(args[0], There)
        if func in READS or leaves or (func in COPIES and here):
            self.waits.append(str(func))
        if target is not None:
            kwargs["device"] = "cpu"
        values, given = tree_map(lambda x: x.value if isinstance(x, There) else x, (args, kwargs))
        out = func(*values, **given)
        if leaves or not isinstance(out, torch.Tensor | tuple | list):
            return out
        known = {id(x.value): x for x in there}  # what works in place gives its own tensor back

        def back_there(x: Any) -> Any:
            return known[id(x)] if id(x) in known else There(x) if isinstance(x, torch.Tensor) else x

        return tree_map(back_there, out)


def then_moved(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """torch makes these tensors out of sight of a Device: make them here, then move them."""

    def made(data: Any, *args: Any, device: Any = None, **given: Any) -> torch.Tensor:
        out = make(data, *args, **given)
        return out if device is None else out.to(device)

    return made


@contextmanager
def elsewhere(monkeypatch) -> Iterator[list[str]]:
    """Within, "meta" is a device; what the host waits for is added to the list."""
    tensor, autocast, enabled, pushed = torch.tensor, torch.autocast, torch.is_autocast_enabled, torch.func.jvp

    def of_type(kind: str, *args: Any, **given: Any):
        return nullcontext() if kind == PLACE.type else autocast(kind, *args, **given)

    def jvp(func: Callable, at: tuple[torch.Tensor], along: tuple[torch.Tensor]):
        """torch's, of values: its own does not survive such tensors."""
        with _disable_current_modes():
            if not isinstance(at[0], There):
                return pushed(func, at, along)
            return tuple(There(out) for out in pushed(func, (at[0].value,), (along[0].value,)))

    with monkeypatch.context() as patch, Device() as device:
        patch.setattr(torch, "tensor", then_moved(tensor))
        patch.setattr(torch, "as_tensor", then_moved(torch.as_tensor))
        patch.setattr(torch.Tensor, "new_tensor", lambda self, data: tensor(data, dtype=self.dtype).to(self.device))
        patch.setattr(There, "tolist", lambda self: self.cpu().tolist(), raising=False)
        patch.setattr(torch.func, "jvp", jvp)
        patch.setattr(torch, "autocast", of_type)
        patch.setattr(torch, "is_autocast_enabled", lambda kind: kind != PLACE.type and enabled(kind))
        yield device.waits
