"""molflow sample"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from molflow.sampling import shard_size
from molflow.solvers import SOLVERS
from molflow.solvers.schedule import GRIDS, LEARNED
from molflow.workers import prepared, processes

if TYPE_CHECKING:
    from molflow.generate import Model
    from molflow.sampling import Sampling


def sample(
    model: str,
    *,
    n: int = 100,
    out: str = "molecules.sdf",
    steps: int | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    atoms: str | None = None,
    grid: str | None = None,
    solver: str | None = None,
    temperature: float | None = None,
    haste: float | None = None,
    composition: float | None = None,
    valences: float | None = None,
    precision: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    trajectory: str | None = None,
    paths: int | None = None,
    overwrite: bool = False,
) -> None:
    """Generate molecules with a trained or shipped model.

    The same model, seed and options give the same file, byte for byte, on one worker or several. A run that was killed
    goes on where it stopped when the command is given again. A note beside the file, such as molecules.sdf.json, tells
    model, seed, steps and versions; molflow view shows it.

    Args:
        model: a shipped model by name, a run folder, or the path of its weights
        n: how many molecules
        out: .sdf, .xyz, .extxyz, .smi or .npz; all but npz also with .gz; .npz for points that are no molecules
        steps: steps from noise to molecule; more are better and slower (default: the model's)
        evaluations: instead of --steps, how often the network is asked: what sampling costs
        seed: another seed, other molecules
        atoms: sizes wanted, such as 12, 9-29 or 9,12,15-17, or a formula such as C7H10O2 (default: as in the training
            set)
        grid: where the steps lie: <grids> (default: the model's)
        solver: the method of a step: <solvers>; with keywords as '{name: churn, amount: 0.1}' (default: the model's)
        temperature: below 1 takes likelier atoms and bonds, at some cost in variety (default: the model's)
        haste: above 1 settles atoms and bonds before coordinates, which few steps need (default: the model's)
        composition: how strongly elements are held to the formulas of the training set, such as 4; 0 leaves them alone
            (default: the model's)
        valences: how strongly atoms and bonds are drawn such that they fit, such as 7; 0 draws each by itself (default:
            the model's)
        precision: fp32, or bf16: quicker on processors that multiply bf16 themselves, and other molecules as good
            (default: the model's)
        device: auto, cpu, cuda or mps
        workers: processes that share the work (default: one a processor of a CPU; beside a GPU, where they only write,
            a few)
        trajectory: also write the way of the first molecules from noise, as a multi-frame .xyz
        paths: molecules of the trajectory (default: 3)
        overwrite: replace files that exist

    Examples:
        molflow sample small --n 100 --out molecules.sdf
        molflow sample runs/a --n 1000 --steps 20 --seed 0 --out molecules.sdf.gz
        molflow sample qm9 --n 1000 --evaluations 20 --haste 2
        molflow sample runs/a --n 10 --atoms 9-12 --trajectory paths.xyz
        molflow sample qm9-relay --n 100 --atoms C7H10O2 --out isomers.sdf
    """
    with prepared(helpers(n, device, workers), "molflow.jobs"):  # before torch is imported here
        import time

        from molflow import jobs
        from molflow.atomic import refuse_existing
        from molflow.build import UserError
        from molflow.chem.io import WRITABLE, format_of, open_writer
        from molflow.cli.outputs import check_outputs
        from molflow.device import pick_device

        suffix = format_of(out, WRITABLE)
        chosen = pick_device(device)
        if trajectory:
            format_of(trajectory, WRITABLE)
        elif paths is not None:
            raise UserError("--paths is of --trajectory: name that file too, or leave it out")
        count = 3 if paths is None else paths
        if count < 1:
            raise UserError(f"--paths must be at least 1, not {count}")
        check_outputs({"--out": out, "--trajectory": trajectory}, [], overwrite)
        refuse_existing(jobs.note_of(out), overwrite)
        loaded = jobs.loaded(model, str(chosen))
        how = asked(loaded, steps, evaluations, grid, solver, temperature, haste, composition, valences, precision)
        job = jobs.SampleJob(model, n, seed, how, atoms, str(chosen), suffix)
        loaded.asked(atoms, how)
        for name in (out, trajectory):
            if name and "atom" not in loaded.path.paths and format_of(name) != ".npz":
                raise UserError(f"{model} makes points, not molecules: write them to .npz, not to {name}")
        print(f"{model}: {n} molecules, {tell(how)}, seed {seed}, on {chosen}")
        started = time.monotonic()
        jobs.run(job, out, workers, overwrite, progress=sys.stderr.isatty())
        seconds = time.monotonic() - started
        print(f"{out} written: {n} molecules in {seconds:.1f} s ({n / seconds:.0f} a second)")
        if trajectory:
            with open_writer(trajectory, overwrite=overwrite) as file:
                for states in jobs.trajectory(job, count):
                    file.write(states)
            print(f"{trajectory} written: {min(count, n)} paths of {how.steps + 1} frames")


def helpers(n: int, device: str, workers: int | None) -> int:
    """The processes that will share the work, as far as that is known before torch can tell which devices there are."""
    on_cpu = device == "cpu" or (device == "auto" and sys.platform == "linux" and not os.path.exists("/dev/nvidia0"))
    count = min(processes(workers, on_cpu), -(-n // shard_size(n, on_cpu)))
    return count if count > 1 else 0


sample.__doc__ = (
    (sample.__doc__ or "").replace("<solvers>", ", ".join(SOLVERS)).replace("<grids>", ", ".join([*GRIDS, LEARNED]))
)


def asked(
    model: Model,
    steps: int | None,
    evaluations: int | None,
    grid: str | None,
    solver: str | None,
    temperature: float | None,
    haste: float | None,
    composition: float | None,
    valences: float | None,
    precision: str | None,
) -> Sampling:
    """The model's own way of sampling with what the command line changes, once it is known to suit the model."""
    from molflow.build import UserError

    how = model.defaults.updated(
        steps=steps,
        grid=grid,
        solver=solver and component(solver),
        temperature=temperature,
        haste=haste,
        composition=composition,
        valences=valences,
        precision=precision,
    )
    if evaluations is not None:
        if steps is not None:
            raise UserError("--steps and --evaluations both say how long; give one of them")
        how = how.spending(evaluations)
    model.times(how)
    return how


def component(text: str) -> str | dict[str, Any]:
    """A name, or keywords beside it, as YAML has them.

    >>> component("euler"), component("{name: churn, amount: 0.1}")
    ('euler', {'name': 'churn', 'amount': 0.1})
    """
    if not text.startswith("{"):
        return text
    import yaml

    from molflow.build import UserError

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--solver {text!r} cannot be read; write a name, or '{{name: churn, amount: 0.1}}'") from None


def tell(how: Sampling) -> str:
    """The method in words, with what it costs where that is not one evaluation a step."""
    method = how.method()
    name = how.solver if isinstance(how.solver, str) else how.solver["name"]
    cost = ""
    if method.evaluations is None:
        cost = ", as many evaluations as its tolerance needs"
    elif method.evaluations > 1:
        cost = f" of {method.evaluations} evaluations"
    precision = "" if how.precision == "fp32" else f", in {how.precision}"
    return f"{how.steps} {name} steps on a {how.grid} grid{cost}{precision}"
