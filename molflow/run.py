"""A run folder: the configuration as resolved, what made it, its figures step by step, and its checkpoints."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import molflow
from molflow.build import UserError
from molflow.checkpoint import write_atomically
from molflow.experiment import Config, dump_config, read_config

FREE_ON_RESUME = {"train", "sample", "data"}  # what may differ from the run's first part; the rest makes another run
FIXED_IN_TRAIN = {"lr", "warmup", "decay", "beta2", "weight_decay", "clip", "ema", "precision"}


class Run:
    """The files of one training run."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.checkpoint = self.folder / "last.ckpt"
        self.metrics = self.folder / "metrics.csv"
        self.origin = self.folder / "origin.json"

    def start(self, config: Config, checksum: str, overwrite: bool = False) -> None:
        """A new folder; one that exists is left alone unless ``overwrite``."""
        if self.folder.exists() and any(self.folder.iterdir()):
            if not overwrite:
                raise UserError(
                    f"{self.folder} exists; give --resume to continue it, --overwrite to replace it, or another --out"
                )
            if not self.config.exists():
                raise UserError(f"{self.folder} is no run folder (it has no config.yaml), so it is not replaced")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.config, lambda path: Path(path).write_text(dump_config(config)))
        origin = {**versions(), "data": config.data.path, "data_checksum": checksum}
        write_atomically(self.origin, lambda path: Path(path).write_text(json.dumps(origin, indent=1) + "\n"))

    def check_same(self, config: Config, checksum: str) -> None:
        """A resumed run continues what it began: the same method on the same data."""
        if not self.config.exists():
            raise UserError(f"{self.folder} is no run folder to resume; leave out --resume to start one")
        before, now = read_config(self.config).to_dict(), config.to_dict()
        changed = [key for key in now if key not in FREE_ON_RESUME and now[key] != before[key]]
        changed += [f"train.{key}" for key in FIXED_IN_TRAIN if now["train"][key] != before["train"][key]]
        changed += [f"data.{key}" for key in ("pairs", "fields", "centred") if now["data"][key] != before["data"][key]]
        if changed:
            raise UserError(
                f"--resume: {', '.join(sorted(changed))} differ from {self.config}; start another run with another --out"
            )
        trained_on = json.loads(self.origin.read_text()).get("data_checksum")
        if trained_on != checksum:
            raise UserError(
                f"--resume: {config.data.path} is not the data this run was trained on (its checksum differs)"
            )

    # -- figures

    def append(self, columns: list[str], row: dict[str, Any]) -> None:
        """One line of metrics.csv; empty where a column was not measured at this step."""
        new = not self.metrics.exists()
        with self.metrics.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def rewind(self, step: int) -> None:
        """Drop the figures of steps after the one that a resumed run starts from."""
        rows = self.read_metrics()
        if rows:
            kept = [row for row in rows if int(row["step"]) <= step]
            self.metrics.unlink()
            for row in kept:
                self.append(list(rows[0]), row)

    def read_metrics(self) -> list[dict[str, str]]:
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return list(csv.DictReader(file))


def versions() -> dict[str, str]:
    """What made a run: the package, its libraries, the revision of its source, the machine's kind."""
    out = {"molflow": molflow.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in ("torch", "lightning", "rdkit", "numpy"):
        out[name] = metadata.version(name)
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    if revision.returncode == 0:
        out["revision"] = revision.stdout.strip()
    return out
