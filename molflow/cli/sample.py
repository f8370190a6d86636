"""molflow sample"""

from __future__ import annotations

import sys


def sample(
    model: str,
    *,
    n: int = 100,
    out: str = "molecules.sdf",
    steps: int | None = None,
    seed: int = 0,
    atoms: str | None = None,
    grid: str | None = None,
    solver: str | None = None,
    temperature: float | None = None,
    device: str = "auto",
    workers: int | None = None,
    trajectory: str | None = None,
    paths: int = 3,
    overwrite: bool = False,
) -> None:
    """Generate molecules with a trained or shipped model.

    The same model, seed and options give the same file, byte for byte, on one worker or several. A run that was killed
    goes on where it stopped when the command is given again.

    Args:
        model: a shipped model by name, a run folder, or the path of its weights
        n: how many molecules
        out: .sdf, .xyz, .extxyz, .smi or .npz; all but npz also with .gz; .npz for points that are no molecules
        steps: steps from noise to molecule; more are better and slower (default: the model's)
        seed: another seed, other molecules
        atoms: sizes wanted, such as 12, 9-29 or 9,12,15-17 (default: as in the training set)
        grid: where the steps lie: linear, quadratic, sine or log (default: the model's)
        solver: the method of a step: euler, midpoint or heun (default: the model's)
        temperature: below 1 takes likelier atoms and bonds, at some cost in variety (default: the model's)
        device: auto, cpu, cuda or mps
        workers: processes on a CPU (default: one a processor)
        trajectory: also write the way of the first molecules from noise, as a multi-frame .xyz
        paths: molecules of the trajectory
        overwrite: replace files that exist

    Examples:
        molflow sample small --n 100 --out molecules.sdf
        molflow sample runs/a --n 1000 --steps 20 --seed 0 --out molecules.sdf.gz
        molflow sample runs/a --n 10 --atoms 9-12 --trajectory paths.xyz
    """
    import time

    from molflow import jobs
    from molflow.atomic import refuse_existing
    from molflow.build import UserError
    from molflow.chem.io import WRITABLE, format_of, open_writer
    from molflow.device import pick_device

    suffix = format_of(out, WRITABLE)
    chosen = pick_device(device)
    refuse_existing(out, overwrite)
    if trajectory:
        format_of(trajectory, WRITABLE)
        refuse_existing(trajectory, overwrite)
        if paths < 1:
            raise UserError(f"--paths must be at least 1, not {paths}")
    loaded = jobs.loaded(model, str(chosen))
    how = loaded.defaults.updated(steps=steps, grid=grid, solver=solver, temperature=temperature)
    job = jobs.SampleJob(model, n, seed, how, atoms, str(chosen), suffix)
    loaded.sizes.asked(atoms)
    for name in (out, trajectory):
        if name and "atom" not in loaded.path.paths and format_of(name) != ".npz":
            raise UserError(f"{model} makes points, not molecules: write them to .npz, not to {name}")
    print(f"{model}: {n} molecules, {how.steps} {how.solver} steps on a {how.grid} grid, seed {seed}, on {chosen}")
    started = time.monotonic()
    jobs.run(job, out, workers, overwrite, progress=sys.stderr.isatty())
    seconds = time.monotonic() - started
    print(f"{out} written: {n} molecules in {seconds:.1f} s ({n / seconds:.0f} a second)")
    if trajectory:
        with open_writer(trajectory, overwrite=overwrite) as file:
            for states in jobs.trajectory(job, paths):
                file.write(states)
        print(f"{trajectory} written: {min(paths, n)} paths of {how.steps + 1} frames")
