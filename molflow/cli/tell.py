"""molflow tell"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from molflow.cli.method import in_words

SHOWN = 12  # numbers that are printed, those that were missed most


def tell(
    model: str,
    *,
    steps: Sequence[int] = (),
    n: int = 4000,
    seed: int = 1,
    device: str = "auto",
    workers: int | None = None,
    out: str | None = None,
    overwrite: bool = False,
) -> None:
    """Learn what to tell a model so that its molecules, not what it is told of them, are as in the training set.

    A model that is told what its molecules are to have (network.census) does not always make that: some of it, such as
    small rings, it makes too seldom. This draws molecules, compares what they have with what they were told, and from
    then on the model is told more often of what it had made too little of. No molecule is chosen by what it became. It
    goes into the model's config.json, for each number of steps: between two of them it is in between, beyond the most
    as with the most, and below the fewest the model is told as before. A model that ships is not changed: name a copy.

    Args:
        model: a run folder, the path of its weights, or a shipped model by name
        steps: numbers of steps to learn it for: few err otherwise than many (default: the model's own)
        n: molecules to draw for each; a run that was killed goes on when the command is given again
        seed: of these molecules; not that of the samples that will be scored (`molflow sample` takes 0)
        device: auto, cpu, cuda or mps
        workers: processes that share the work (default: one a processor of a CPU; beside a GPU, where they only write,
            a few)
        out: the folder of a copy of the model that keeps it (default: the model itself)
        overwrite: replace another model that is in --out, and drop what an interrupted run with other options has left

    Examples:
        molflow tell runs/a
        molflow tell runs/a --steps 10,20,50 --n 10000
        molflow tell qm9-relay --steps 50 --out runs/leaning
    """
    from dataclasses import replace

    from molflow.checkpoint import CONFIG, copied
    from molflow.cli.outputs import to_change
    from molflow.device import pick_device
    from molflow.jobs import loaded
    from molflow.telling import ToldJob, check_told, learn

    chosen = pick_device(device)
    changed, source = to_change(model, out, overwrite)
    teller = loaded(str(source), str(chosen))
    check_told(teller, model)
    ways = [teller.defaults.updated(steps=count) for count in sorted({*steps})] or [teller.defaults]
    for how in ways:
        teller.times(how)
    jobs = [ToldJob(model, n, seed, how, device=str(chosen)) for how in ways]
    copied(source, changed)
    jobs = [replace(job, model=str(changed)) for job in jobs]
    print(
        f"{model}: {n} molecules each, by {', then '.join(map(in_words, ways))}, seed {seed}, on {chosen}", flush=True
    )
    for count, heard in learn(jobs, workers, overwrite, progress=sys.stderr.isatty()).items():
        print(f"{f'{count} steps, in the mean':40} {'data':>8} {'told':>8} {'found':>8} {'now told':>8}")
        for row in (-abs(heard.found - heard.told)).argsort(kind="stable")[:SHOWN].tolist():
            means = (heard.data[row], heard.told[row], heard.found[row], heard.corrected[row])
            print(f"{heard.names[row]:40} " + " ".join(f"{mean:8.3f}" for mean in means))
    print(f"{changed / CONFIG} written; try: molflow sample {changed} --n 100 --out molecules.sdf")
