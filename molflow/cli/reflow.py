"""molflow reflow"""

from __future__ import annotations

import sys
from typing import Unpack

from molflow.cli.method import Method, asked, in_words


def reflow(
    model: str,
    *,
    pairs: int = 200_000,
    out: str = "pairs.safetensors",
    steps: int | None = None,
    evaluations: int | None = None,
    seed: int = 1,
    atoms: str | None = None,
    valid_only: bool = False,
    device: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
    **method: Unpack[Method],
) -> None:
    """Make pairs of noise and sample with a trained model: what a straighter model is trained on.

    The file holds the samples; each one's noise is found again from its number and the seed. A run that was killed
    goes on where it stopped when the command is given again. A temperature far below 1 lets the noise alone decide
    atoms and bonds, which a student can then learn.

    Args:
        model: a shipped model by name, a run folder, or the path of its weights
        pairs: how many
        out: the data file, .safetensors
        steps: steps from noise to sample (default: the model's)
        evaluations: instead of --steps, how often the network is asked
        seed: of the noise; not that of the samples that will be scored (`molflow sample` takes 0)
        atoms: sizes wanted, such as 12, 9-29 or 9,12,15-17, or a formula (default: as in the training set)
        valid_only: leave out what `strict` calls invalid; the student then learns another law than its teacher's
        device: auto, cpu, cuda or mps
        workers: processes that share the work (default: one a processor of a CPU; beside a GPU, where they only write,
            a few)
        overwrite: replace the file if it exists

    Examples:
        molflow reflow runs/teacher --pairs 200000 --out pairs.safetensors
        molflow reflow small --pairs 1000 --steps 100 --out pairs.safetensors
    """
    import time

    from molflow.build import UserError
    from molflow.cli.outputs import check_data_file, model_files
    from molflow.device import pick_device
    from molflow.jobs import loaded
    from molflow.reflow import PairsJob, make_pairs

    check_data_file(out, model_files(model), overwrite)
    chosen = pick_device(device)
    teacher = loaded(model, str(chosen))
    how = asked(teacher, steps, evaluations, atoms, **method)
    teacher.asked(atoms, how)
    if valid_only and "atom" not in teacher.path.paths:
        raise UserError(f"--valid-only: {model} makes points, which are neither valid nor invalid")
    job = PairsJob(model, pairs, seed, how, atoms, str(chosen), valid_only=valid_only)
    print(f"{model}: {pairs} pairs, {in_words(how)}, seed {seed}, on {chosen}")
    started = time.monotonic()
    made = make_pairs(job, out, workers, overwrite, progress=sys.stderr.isatty())
    print(f"{out} written: {made.pairs} pairs in {time.monotonic() - started:.1f} s")
    for reason, count in made.left_out.items():
        print(f"left out: {count} samples, {reason}")
    print(f"train on them: molflow train configs/reflow.yaml data.path={out} train.init={model}")
