"""The only loop over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from molflow.batch import Batch
from molflow.rng import Rng
from molflow.solvers.solver import Solver, VectorField


def integrate(
    flow: VectorField,
    x: Batch,
    times: Sequence[float],
    solver: Solver,
    rng: Rng | None,
    watch: Callable[[float, Batch], None] | None = None,
) -> Batch:
    """Carry x along the grid of times; ``watch(t, x)`` sees every state on the way."""
    solver.start()
    if watch:
        watch(times[0], x)
    for t, s in pairwise(times):
        x = solver.step(flow, x, t, s, rng)
        if watch:
            watch(s, x)
    return x
