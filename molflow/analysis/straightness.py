"""How straight the ways from noise to molecule are, and how long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molflow.batch import Batch
from molflow.build import UserError
from molflow.generate import Model
from molflow.geometry import centre, sum_squares
from molflow.objectives.objective import Objective
from molflow.rng import Rng
from molflow.sampling import Sampling


@dataclass(frozen=True)
class Straightness:
    """Figures of the coordinates' ways from x0 to x1 = phi_1(x0); the means are over molecules."""

    value: float  # E int |(x1 - x0) - u_t(x_t)|^2 dt / E |x1 - x0|^2, 0 if all ways are straight (Liu et al. 2023)
    error: float  # its standard error
    detour: float  # E of the ways' lengths over E |x1 - x0|
    transport: float  # E |x1 - x0|^2 an atom, angstrom^2: the cost of the model's own map
    times: tuple[float, ...]  # of the grid
    curve: tuple[float, ...]  # the integrand between each two of the times: where the ways bend
    molecules: int
    evaluations: int  # of the network, a molecule

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def straightness(
    model: Model,
    n: int = 100,
    *,
    steps: int = 100,
    grid: str | None = None,
    seed: int = 0,
    atoms: str | int | None = None,
    progress: bool = False,
) -> Straightness:
    """Of ``n`` samples on their way, by ``steps`` Euler steps; labels and hints go along as they do in sampling.

    ``molflow.straightness(molflow.load("small"), 100).value`` is below 1 % where few steps would do.
    """
    if n < 1:
        raise UserError(f"the number of molecules must be at least 1, not {n}")
    how = model.defaults.updated(steps=steps, grid=grid, solver="euler")
    return of_ways(ways(model, n, how, seed, atoms, progress))


Way = tuple[list[float], Tensor, Tensor]  # times [T + 1], states [T + 1, B, N, D], mask [B, N]


def ways(
    model: Model, n: int, how: Sampling, seed: int = 0, atoms: str | int | None = None, progress: bool = False
) -> list[Way]:
    """The coordinates of samples 0 .. n - 1 at every time, batch by batch."""
    found: list[Way] = []
    times: list[float] = []
    states: list[Tensor] = []

    def watch(t: float, x: Batch) -> None:
        if t == 0:  # a batch begins, perhaps anew after one that did not fit into memory
            times.clear()
            states.clear()
        times.append(t)
        states.append(x.pos.cpu())
        if t == 1:
            found.append((list(times), torch.stack(states), x.mask.cpu()))

    model.sample_ids(np.arange(n), seed, how, atoms, progress, watch)
    return found


def of_ways(found: Iterable[Way]) -> Straightness:
    """The figures of given ways, the velocity between two times being the difference of their states.

    A quarter turn, in many steps: (pi / 2)^2 / 2 - 1 = 0.234, and pi / 2 / sqrt 2 = 1.111 times as long as straight.

    >>> angle = torch.linspace(0, math.pi / 2, 101)
    >>> arc = torch.stack([angle.cos(), angle.sin()], 1)[:, None, None]
    >>> turn = of_ways([(torch.linspace(0, 1, 101).tolist(), arc, torch.ones(1, 1, dtype=torch.bool))])
    >>> f"{turn.value:.3f} {turn.detour:.3f} {turn.transport:.3f}"
    '0.234 1.111 2.000'
    """
    found = list(found)
    times = found[0][0]
    h = torch.tensor(times, dtype=torch.float64).diff()  # [T]
    bends, costs, lengths, sizes = [], [], [], []
    for _, states, mask in found:
        states = states.double()
        whole, moved = states[-1] - states[0], states.diff(dim=0)
        away = whole - moved / h[:, None, None, None]
        bends.append(sum_squares(away, mask))  # [T, B]
        costs.append(sum_squares(whole, mask))
        lengths.append(sum_squares(moved, mask).sqrt().sum(0))
        sizes.append(mask.sum(1))
    bend, cost, length, size = torch.cat(bends, 1), torch.cat(costs), torch.cat(lengths), torch.cat(sizes)
    if not bool(cost.any()):
        raise UserError("the model moves nothing, as an untrained one does: there is no way to measure")
    each = h @ bend
    value = float(each.mean() / cost.mean())
    return Straightness(
        value,
        float((each - value * cost).std() / cost.mean()) / math.sqrt(len(cost)) if len(cost) > 1 else math.nan,
        float(length.mean() / cost.sqrt().mean()),
        float((cost / size).mean()),
        tuple(times),
        tuple((bend.mean(1) / cost.mean()).tolist()),
        len(cost),
        len(times) - 1,
    )


def coupling_costs(
    objective: Objective, encode: Callable[[Batch], Batch], batches: Iterable[Batch], seed: int = 0
) -> dict[str, float]:
    """What the coupling of an objective does to its pairs: the figures it reports, a molecule's mean."""
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        x1 = encode(batch)
        x1 = x1.replace(pos=centre(x1.pos, x1.mask)) if objective.centred else x1
        rng = Rng(seed, torch.arange(len(x1)) + count)
        x0 = objective.prior(x1, rng)
        for name, value in objective.coupling.report(x0, x1, rng).items():
            sums[name] = sums.get(name, 0.0) + value * len(x1)
        count += len(x1)
    return {name: total / count for name, total in sums.items()}
