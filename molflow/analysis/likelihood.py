"""The density of a flow's coordinates, exactly, along its ODE."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.generate import Model
from molflow.geometry import centre
from molflow.rng import Rng


def log_prob(
    model: Model,
    batch: Batch,
    *,
    probes: int | None = None,
    steps: int = 50,
    last: float = 1e-3,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """log p(x1) of each molecule's coordinates given their number, in nats, [B] float64 (Chen et al. 2018).

        log p(x1) = log p0(x0) - int_0^1 div u_t(x_t) dt,    dx/dt = u_t(x) from x1 back to x0,

    by Runge-Kutta of order 4. The divergence is exact, one backward pass for each coordinate, or with ``probes`` its
    estimate from so many random signs (Hutchinson), the same at every time. Clouds that the model centres live in
    (N - 1) D dimensions, and so do density and divergence.

    u_t reads the endpoint divided by 1 - t and has no value at t = 1, so from t = 1 - ``last`` on it is held: the
    result is the normalised density of that flow. The network is given no hint, for with one u would depend on the
    states before x.
    """
    _check(model, probes, steps, last)
    _prior(model).log_prob(_origin(batch))  # one without a density says so now
    from tqdm import tqdm

    model.network.eval()
    sizes = batch.sizes.cpu().numpy()
    found = torch.zeros(len(batch), dtype=torch.float64)
    plan = model.portions.plan(sizes, model.device, differentiated=True)
    with tqdm(total=len(plan) * (steps + 1), unit="step", disable=not progress, leave=False) as bar:
        for places in plan:
            ids = torch.from_numpy(places)
            like = batch[ids].only([]).to(model.device)
            dtype = next(model.network.parameters()).dtype
            like = like.replace(pos=like.pos.to(dtype))
            signs = None if probes is None else _signs(Rng(seed, ids.to(model.device)), probes, like.pos)
            field = Field(model, like, last, signs)
            x0, gained = back(field, field.inside(like.pos), _times(steps, last), bar.update)
            found[ids] = (_prior(model).log_prob(like.replace(pos=x0)).double() + gained).cpu()
    return found


def dimensions(model: Model, batch: Batch) -> Tensor:
    """D coordinates for each atom [B], but for those that centring takes away."""
    return (batch.sizes - int(_prior(model).centred)) * batch.pos.shape[-1]


def bits_per_dimension(log_p: Tensor, dims: Tensor) -> tuple[float, float]:
    """- sum log2 p / sum dims, and its standard error over the molecules."""
    bits, dims = -log_p.double() / math.log(2), dims.double().to(log_p.device)
    mean = bits.sum() / dims.sum()
    error = (bits - mean * dims).std() / dims.mean() / math.sqrt(len(bits)) if len(bits) > 1 else torch.tensor(math.nan)
    return float(mean), float(error)


class Field:
    """u_t and its divergence on the space where the clouds ``like`` live."""

    def __init__(self, model: Model, like: Batch, last: float, signs: Tensor | None):
        self.model, self.like, self.latest, self.signs = model, like, 1 - last, signs
        self.centred = _prior(model).centred

    def inside(self, pos: Tensor) -> Tensor:
        """The nearest state of that space: zero in the padding, and of zero mean where clouds are centred."""
        return centre(pos, self.like.mask) if self.centred else pos.masked_fill(~self.like.mask.unsqueeze(-1), 0)

    def velocity(self, pos: Tensor, t: float) -> Tensor:
        t = min(t, self.latest)
        x = self.like.replace(pos=self.inside(pos))
        path = self.model.path
        end = path.endpoint(self.model.network(x, x.pos.new_full((len(x),), t)), x, t)
        return self.inside(path.velocity(end, x, t)["pos"])

    @torch.enable_grad()
    def __call__(self, pos: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """u [B, N, D] and div u [B]: the trace of P J P, P being the projection ``inside``."""
        pos = pos.detach().requires_grad_()
        v = self.velocity(pos, t)
        trace = exact_trace(v, pos) if self.signs is None else hutchinson_trace(v, pos, self.signs)
        return v.detach(), trace


def exact_trace(v: Tensor, pos: Tensor) -> Tensor:
    """sum_i dv_i / dx_i, [B]: a backward pass for each coordinate of the largest cloud."""
    total = pos.new_zeros(len(pos), dtype=torch.float64)
    for i in range(pos.shape[1]):
        for c in range(pos.shape[2]):
            total += torch.autograd.grad(v[:, i, c].sum(), pos, retain_graph=True)[0][:, i, c]
    return total


def hutchinson_trace(v: Tensor, pos: Tensor, signs: Tensor) -> Tensor:
    """The mean of s^T J s over random signs s [K, B, N, D], whose expectation is the trace of J; [B]."""
    rows = [torch.autograd.grad(v, pos, s, retain_graph=True)[0] * s for s in signs]
    return torch.stack(rows).double().sum((2, 3)).mean(0)


def back(
    field: Callable[[Tensor, float], tuple[Tensor, Tensor]],
    pos: Tensor,
    times: Sequence[float],
    step: Callable[[], object] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """The state at the last of the times, and the integral of div u over them; descending times count it negative."""
    gained = pos.new_zeros(len(pos), dtype=torch.float64)
    for t, s in pairwise(times):
        h, m = s - t, (t + s) / 2
        v1, d1 = field(pos, t)
        v2, d2 = field(pos + h / 2 * v1, m)
        v3, d3 = field(pos + h / 2 * v2, m)
        v4, d4 = field(pos + h * v3, s)
        pos = pos + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        gained = gained + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        step()
    return pos, gained


def _times(steps: int, last: float) -> list[float]:
    """From 1 to 1 - last in one step, then to 0 with 1 - t growing by the same factor each step."""
    return [1.0, *(1 - last ** (k / steps) for k in range(steps, 0, -1)), 0.0]


def _signs(rng: Rng, probes: int, like: Tensor) -> Tensor:
    """Random signs [K, B, N, D]."""
    return torch.stack([(rng.uniform(*like.shape[1:]) < 0.5).to(like.dtype) * 2 - 1 for _ in range(probes)])


def _origin(batch: Batch) -> Batch:
    """A cloud at the origin."""
    first = batch[:1].only([])
    return first.replace(pos=torch.zeros_like(first.pos))


def _prior(model: Model) -> Any:
    return next(prior for prior in model.prior.priors if prior.field == "pos")


def _check(model: Model, probes: int | None, steps: int, last: float) -> None:
    if model.device.type == "mps":
        raise UserError("a density is a sum in double precision, which mps has not: take --device cpu")
    labels = [name for name in model.path.paths if name != "pos"]
    if labels:
        jump = any(model.path.paths[name].discrete for name in labels)
        why = (
            "they jump by chance on the way, so that no ODE leads from its noise to its coordinates"
            if jump
            else "they end in the corners of a simplex, points where no density is finite"
        )
        raise UserError(
            f"no density: this model makes {', '.join(labels)} together with the coordinates, and {why}; "
            "train one of coordinates alone: data.fields=[pos]"
        )
    if _prior(model).centred and "translation" not in model.network.symmetries:
        raise UserError(
            "no density: this model's clouds are centred, and its network moves their centres, which a density of "
            "centred clouds does not see; train one with data.centred=false"
        )
    for name, value, holds, what in (
        ("probes", probes, probes is None or probes >= 1, "at least 1, or none for the exact divergence"),
        ("steps", steps, steps >= 1, "at least 1"),
        ("last", last, 0 < last < 1, "between 0 and 1"),
    ):
        if not holds:
            raise UserError(f"{name} must be {what}, not {value}")
