"""molflow relay"""

from __future__ import annotations

from collections.abc import Sequence


def relay(
    models: Sequence[str], *, at: Sequence[float] = (), part: float | None = None, out: str, overwrite: bool = False
) -> None:
    """Join models into one whose way they go in turn: each has its stretch of the time from noise (0) to molecule (1).

    Weights are then trained for a part of the way alone, and an evaluation costs what one of them costs. Train them
    from one model, each with a law of times about its stretch; noise, coupling, paths and data stay the same. What
    comes out samples, scores and trains as any model does. With --part one of them is taken out again.

    Args:
        models: run folders, paths of weights, or shipped models by name, in the order of their stretches
        at: the times at which one hands over to the next: one fewer than models
        part: instead, write the model that a joined one asks at this time, to train on from
        out: the folder of the new model
        overwrite: replace a model that is there

    Examples:
        molflow train configs/qm9_cpu.yaml train.init=qm9 "times={name: beta, a: 3, b: 4}" --out runs/early
        molflow train configs/qm9_cpu.yaml train.init=qm9 "times={name: beta, a: 4, b: 1}" --out runs/late
        molflow relay runs/early runs/late --at 0.6 --out runs/relay
        molflow relay qm9-relay --part 0.9 --out runs/end
    """
    import sys

    from molflow.build import UserError
    from molflow.checkpoint import read_card
    from molflow.cli.outputs import check_model
    from molflow.relay import join
    from molflow.relay import part as taken

    if part is not None and (at or len(models) != 1):
        raise UserError("--part takes one model out of one that was joined: give it that one, and no --at")
    check_model(out, models, overwrite)
    path = join(models, at, out) if part is None else taken(models[0], part, out)
    if (grid := read_card(path).config.sample.grid) != read_card(models[0]).config.sample.grid:
        print(f"note: learned times go with the weights they were learned for: {path} has {grid} ones", file=sys.stderr)
    print(f"{path} written; try: molflow sample {path} --n 100 --out molecules.sdf")
