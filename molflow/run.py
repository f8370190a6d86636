"""A run folder: the configuration as resolved, what made it, its figures step by step, and its checkpoints."""

from __future__ import annotations

import csv
import io
import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molflow.atomic import write_atomically, write_json
from molflow.build import UserError
from molflow.checkpoint import CONFIG, WEIGHTS, locate
from molflow.chem.note import checksum_of
from molflow.config import Config, dump_config, name_of, read_config
from molflow.versions import versions

FREE_ON_RESUME = {"train", "sample", "data"}  # what may differ from the run's first part; the rest makes another run
FIXED_IN_TRAIN = (
    *("optimizer", "lr", "warmup", "decay", "beta2", "weight_decay", "clip", "ema", "precision", "devices"),
    *("teacher", "init", "only"),
)
FIXED_IN_DATA = ("pairs", "fields", "centred")
FIXED_IN_SAMPLE = (
    "grid",
    "solver",
    "temperature",
    "haste",
    "composition",
    "valences",
)  # where an objective goes by them


class Run:
    """The files of one training run."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.checkpoint = self.folder / "last.ckpt"
        self.metrics = self.folder / "metrics.csv"
        self.origin = self.folder / "origin.json"

    def check_free(self, overwrite: bool = False) -> None:
        """A folder that exists is left alone unless ``overwrite``, and then only if a run made it."""
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; give another --out")
        if any(self.folder.iterdir()) and not overwrite:
            raise UserError(
                f"{self.folder} exists; give --resume to continue it, --overwrite to replace it, or another --out"
            )
        if any(self.folder.iterdir()) and not self.origin.exists():
            raise UserError(f"{self.folder} is no run folder (it has no {self.origin.name}), so it is not replaced")

    def start(self, config: Config, checksum: str) -> None:
        """A folder for a new run; what an earlier one left in it goes, and files of other origin stay."""
        text = dump_config(config)  # before anything goes: it may be none that can be written
        origin: dict[str, Any] = {**made_with(), "data": str(config.data.path), "data_checksum": checksum}
        for key, model in (("init", config.train.init), ("teacher", config.train.teacher)):
            if not model:
                continue
            if locate(model).resolve() == self.folder.resolve():
                raise UserError(f"train.{key}: {model} is what would be replaced; give another --out")
            origin[key] = {"model": model, "weights": _weights_of(model)}
        for path in (self.checkpoint, self.folder / WEIGHTS, self.folder / CONFIG, self.metrics, *self._leftovers()):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.origin, origin)
        write_atomically(self.config, text)

    def check_same(self, config: Config, checksum: str) -> None:
        """A resumed run continues what it began: the same method on the same data."""
        if not self.config.exists():
            raise UserError(f"{self.folder} is no run folder to resume; leave out --resume to start one")
        before, now = read_config(self.config).to_dict(), config.to_dict()
        changed = [key for key in now if key not in FREE_ON_RESUME and now[key] != before[key]]
        lesson = FIXED_IN_SAMPLE if name_of(config.objective) != "matching" else ()
        for part, fixed in (("train", FIXED_IN_TRAIN), ("data", FIXED_IN_DATA), ("sample", lesson)):
            changed += [f"{part}.{key}" for key in fixed if now[part][key] != before[part][key]]
        if changed:
            differ = "differs" if len(changed) == 1 else "differ"
            raise UserError(
                f"--resume: {', '.join(sorted(changed))} {differ} from {self.config}; "
                "give what the run began with, or start another with another --out"
            )
        try:
            origin = json.loads(self.origin.read_text())
            trained_on, taught_by = origin["data_checksum"], origin.get("teacher", {}).get("weights")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"--resume: {self.origin} is damaged ({error}); start anew with --overwrite") from None
        if trained_on and trained_on != checksum:
            raise UserError(
                f"--resume: {config.data.path} is not the data this run was trained on (its checksum differs)"
            )
        if taught_by and taught_by != _weights_of(config.train.teacher or ""):
            raise UserError(f"--resume: train.teacher={config.train.teacher} has other weights than this run's had")

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from: a run that was killed early is one that begins."""
        return self.checkpoint.exists() or (self.folder / WEIGHTS).exists()

    def go_on(self, config: Config, step: int, columns: Sequence[str]) -> None:
        """Ready to continue from a step: the figures of later ones are dropped, and the files of a write cut short.

        ``columns`` are those of the figures to come, which a length of another kind changes.
        """
        for path in self._leftovers():
            path.unlink(missing_ok=True)
        write_atomically(self.config, dump_config(config))
        rows = [row for row in self.read_metrics() if row["step"].isdecimal() and int(row["step"]) <= step]
        if rows:
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
            write_atomically(self.metrics, text.getvalue())
        else:
            self.metrics.unlink(missing_ok=True)

    def _leftovers(self) -> list[Path]:
        """Temporary files of a process that was killed while it wrote."""
        names = (self.config.name, self.checkpoint.name, self.metrics.name, self.origin.name, WEIGHTS, CONFIG)
        return [path for name in names for path in self.folder.glob(f".{name}.*")]

    # -- the checkpoint

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.checkpoint, buffer.getbuffer())

    def read_checkpoint(self, version: int) -> dict[str, Any]:
        import torch

        path = self.checkpoint
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise UserError(
                f"{path} is absent, so there is nothing to resume; start this run anew with --overwrite"
            ) from None
        except PermissionError:
            raise UserError(f"{path} may not be read by you; see to its permissions") from None
        except Exception as error:  # torch.load raises whatever its zip and unpickling layers raise
            raise UserError(
                f"{path} is damaged or cut short ({type(error).__name__}); start anew with --overwrite or another --out"
            ) from None
        found = state.get("version") if isinstance(state, dict) else None
        if found != version:
            raise UserError(
                f"{path} is of checkpoint version {found}, this molflow reads {version}; "
                f"go on with the molflow that wrote it ({self.origin} names it), or start another run"
            )
        return state

    # -- figures

    def append(self, columns: list[str], row: dict[str, Any]) -> None:
        """One line of metrics.csv; empty where a column was not measured at this step."""
        new = not self.metrics.exists()
        with self.metrics.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv; a last line that a full disk or a kill cut short is left out."""
        if not self.metrics.exists():
            return []
        text = self.metrics.read_bytes().decode(errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return list(csv.DictReader(io.StringIO(whole, newline="")))


def _weights_of(model: str) -> str:
    return checksum_of(locate(model) / WEIGHTS)


def made_with() -> dict[str, str]:
    """What makes a run: the package, its libraries, the revision of its source, the machine's kind."""
    revision = _revision(Path(__file__).parent)
    found = {**versions("torch", "lightning", "rdkit", "numpy"), "machine": platform.machine()}
    return found | ({"revision": revision} if revision else {})


def _revision(package: Path) -> str:
    """Of the source, where this is a checkout of it, and not of what it may be installed in."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=package, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        ours = git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=12") if ours else ""
    except OSError:  # no git here
        return ""
