"""molflow sample"""

from __future__ import annotations

import glob
import os
import sys
from typing import Unpack

from molflow.cli.method import Method, asked, in_words
from molflow.sampling import shard_size
from molflow.workers import check_workers, prepared, processes


def sample(
    model: str,
    *,
    n: int = 100,
    out: str = "molecules.sdf",
    steps: int | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    atoms: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    trajectory: str | None = None,
    paths: int | None = None,
    overwrite: bool = False,
    **method: Unpack[Method],
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
    check_workers(workers)
    with prepared(helpers(n, device, workers), "molflow.jobs"):  # before torch is imported here
        import time

        from molflow import jobs
        from molflow.atomic import refuse_existing
        from molflow.build import UserError
        from molflow.chem.formula import formula_of, parse
        from molflow.chem.io import WRITABLE, format_of, open_writer, read
        from molflow.chem.note import note_of
        from molflow.cli.outputs import check_outputs
        from molflow.data.wanted import formula_in
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
        refuse_existing(note_of(out), overwrite)
        loaded = jobs.loaded(model, str(chosen))
        how = asked(loaded, steps, evaluations, atoms, **method)
        job = jobs.SampleJob(model, n, seed, how, atoms, str(chosen), suffix)
        wanted = loaded.asked(atoms, how)
        for name in (out, trajectory):
            if name and "atom" not in loaded.path.paths and format_of(name) != ".npz":
                raise UserError(f"{model} makes points, not molecules: write them to .npz, not to {name}")
        print(f"{model}: {n} molecules, {in_words(how)}, seed {seed}, on {chosen}")
        if strange := wanted.sizes.beyond(loaded.sizes):
            print(f"note: {model} has seen no molecules {strange}: expect little of them", file=sys.stderr)
        started = time.monotonic()
        jobs.run(job, out, workers, overwrite, progress=sys.stderr.isatty())
        seconds = time.monotonic() - started
        print(f"{out} written: {n} molecules in {seconds:.1f} s ({n / seconds:.0f} a second)")
        if formula := formula_in(atoms):
            exact = sum(parse(formula) == formula_of(record.mol) for record in read(out))
            print(f"{exact} of them are {formula}, which they were drawn towards; a higher --composition pulls harder")
        if trajectory:
            with open_writer(trajectory, overwrite=overwrite) as file:
                for states in jobs.trajectory(job, count):
                    file.write(states)
            print(f"{trajectory} written: {min(count, n)} paths of {how.steps + 1} frames")


def helpers(n: int, device: str, workers: int | None) -> int:
    """The processes that will share the work, as far as that is known before torch can tell which devices there are."""
    on_cpu = device == "cpu" or (device == "auto" and sys.platform == "linux" and not _shows_a_gpu())
    count = min(processes(workers, on_cpu), -(-n // shard_size(n, on_cpu)))
    return count if count > 1 else 0


def _shows_a_gpu() -> bool:
    """Whether Linux has a device of NVIDIA's, by its number or as Windows lends it, and it is not hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return not hidden and bool(glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg"))
