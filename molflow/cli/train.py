"""molflow train"""

from __future__ import annotations

import sys
from pathlib import Path


def train(
    config: str,
    *,
    overrides: dict[str, str],
    out: str = "",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    profile: bool = False,
    print_config: bool = False,
) -> int:
    """Train a flow as a configuration file says, into a run folder.

    Every key of the file can be changed on the command line, as `train.lr=1e-3` or `--train.lr 1e-3`. The folder then
    holds config.yaml as resolved, metrics.csv, model.safetensors with config.json for sampling, and last.ckpt to resume
    from. Ctrl-C and SIGTERM save and stop.

    Args:
        config: a YAML file; configs/ has one for each experiment
        out: the run folder; by default runs/ and the name of the configuration
        resume: continue the run in --out from its last checkpoint, bit by bit as if it had not stopped
        overwrite: replace a run folder that exists
        dry_run: build everything, take a few steps, print sizes, memory and the expected time, write nothing
        profile: take a few steps, print where their time goes, the memory they keep and the rate, write nothing
        print_config: print the configuration as resolved, and stop

    Examples:
        molflow train configs/small.yaml --dry-run
        molflow train configs/qm9_cpu.yaml data.path=qm9.safetensors --out runs/a
        molflow train configs/qm9_cpu.yaml data.path=qm9.safetensors --out runs/a --resume
    """
    from molflow.build import UserError
    from molflow.config import dump_config, read_config
    from molflow.yamlfile import told_by_line

    if (resume and overwrite) or (dry_run and profile):
        raise UserError("--resume goes on and --overwrite begins anew, --dry-run and --profile are apart: give one")
    resolved = read_config(config, overrides)
    if print_config:
        print(dump_config(resolved), end="")
        return 0
    from molflow import training

    with told_by_line(config, overrides):
        if dry_run:
            for name, value in training.dry_run(resolved).items():
                print(f"{name:>15}  {value}")
            return 0
        if profile:
            print(training.profile(resolved))
            return 0
        folder = out or f"runs/{Path(config).stem}"
        taught = resume and _is_taught(Path(folder))
        try:
            training.fit(resolved, folder, resume=resume, overwrite=overwrite, progress=sys.stderr.isatty())
        except training.Interrupted as stop:
            print(stop, file=sys.stderr)
            return stop.code
    if taught and not _is_taught(Path(folder)):
        what = "what molflow tune or tell had kept with the model went with its weights"
        print(f"note: {what}, of which there are better ones now: do it again", file=sys.stderr)
    file = "molecules.sdf" if "atom" in resolved.data.fields else "points.npz"
    print(f"{folder} is trained; try: molflow sample {folder} --n 100 --out {file}")
    return 0


def _is_taught(folder: Path) -> bool:
    """Whether the model of a run samples otherwise than its training said."""
    from molflow.checkpoint import CONFIG, read_card
    from molflow.config import read_config
    from molflow.run import Run

    if not ((folder / CONFIG).exists() and Run(folder).config.exists()):
        return False
    card = read_card(folder)
    return bool(card.grids or card.leans) or card.config.sample != read_config(Run(folder).config).sample
