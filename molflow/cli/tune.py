"""molflow tune"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from molflow.cli.method import Method, changed


def tune(
    model: str,
    *,
    steps: Sequence[int] = (5, 8, 10, 20),
    n: int = 96,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
    overwrite: bool = False,
    **method: Unpack[Method],
) -> None:
    """Learn a model's best time grids from a few of its own molecules, and keep them and its way of sampling with it.

    Afterwards `--grid learned` samples on them. One fine integration serves all numbers of steps. How molecules
    are drawn, where it is given, becomes the model's default: the solver that the grids are for, and the rest. All goes
    into the model's config.json, or into that of a copy: a model that ships is not changed.

    Args:
        model: a run folder, the path of its weights, or a shipped model by name
        steps: numbers of steps to learn a grid for; the model's own too where its grid is `learned`
        n: molecules to look at
        seed: another seed, other molecules
        device: auto, cpu, cuda or mps
        out: the folder of a copy of the model that keeps it (default: the model itself)
        overwrite: replace another model that is in --out

    Examples:
        molflow tune runs/a
        molflow tune runs/a --steps 4,6,12 --solver multistep --temperature 0.5 --haste 6
        molflow tune qm9 --steps 6 --grid learned --out runs/tuned
    """
    from molflow.analysis.grids import FINE, learn_grids
    from molflow.build import UserError
    from molflow.checkpoint import copied, keep_sampling, load
    from molflow.cli.outputs import to_change
    from molflow.solvers.schedule import LEARNED

    if not steps or min(steps) < 1 or n < 1:
        raise UserError(f"--steps and --n must be at least 1, not {','.join(map(str, steps))} and {n}")
    folder, source = to_change(model, out, overwrite)
    loaded = load(source, device)
    how = loaded.defaults = changed(loaded, **method)
    loaded.check(how)
    wanted = {*steps, how.steps} if how.grid == LEARNED else {*steps}  # or the default would have no grid
    if max(wanted) > max(FINE, *steps):
        raise UserError(f"{model} takes {how.steps} steps, and a learned grid has at most {FINE}: keep another grid")
    grids = learn_grids(loaded, sorted(wanted), n, seed)
    path = keep_sampling(copied(source, folder), how, grids)
    for count, times in grids.items():
        print(f"{count:>4} steps  {' '.join(f'{t:.3f}' for t in times)}")
    print(f"{path} written; try: molflow sample {folder} --steps {max(grids)} --grid learned")
