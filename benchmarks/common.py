"""What benchmarks share: medians of interleaved runs, a table on the screen, a JSON file that says where it ran."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from molflow.build import UserError
from molflow.workers import cpus

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "numpy", "rdkit", "torch-geometric", "e3nn", "lightning", "pot", "scipy", "safetensors")


def command(main: Callable[[], None]) -> None:
    """A benchmark as a command: a mistake in what was asked is told in its own words, without where in the code."""
    try:
        main()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def median_seconds(
    runs: Mapping[Any, Callable[[], Any]],
    repeats: int = 5,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Any, float]:
    """The median seconds of each run, taken in turns so that a busy moment of the machine hits all alike.

    With ``clock=time.process_time`` they are of this process alone: for work in one thread on a shared machine.
    """
    taken: dict[Any, list[float]] = {name: [] for name in runs}
    for turn in range(warmup + repeats):
        for name, run in runs.items():
            start = clock()
            run()
            if turn >= warmup:
                taken[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def report(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    protocol: str,
    n: int,
    seed: int = 0,
    note: str = "",
    save: bool = True,
    **more: Any,
) -> Path | None:
    """Print the rows as a table and write them to ``results/<name>.json``.

    ``protocol`` says in words what was measured and how, ``n`` on how many molecules; ``more`` goes into the file.
    """
    print(f"{name}: {protocol}; N = {n:,}, seed {seed}\n{table(rows)}")
    if note:
        print(note)
    if not save:
        return None
    record = {"name": name, "protocol": protocol, "n": n, "seed": seed, "rows": list(rows), "note": note, **more}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**record, **surroundings()}, indent=2) + "\n")
    os.replace(part, path)
    print(f"written to {path.relative_to(RESULTS.parent.parent)}")
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows under their keys, numbers to the right."""
    if not rows:
        return "(nothing)"
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_shown(row.get(key, "")) for key in keys] for row in rows]
    widths = [max(len(key), *(len(line[k]) for line in cells)) for k, key in enumerate(keys)]
    right = [all(isinstance(row.get(key, 0), (int, float)) for row in rows) for key in keys]

    def line(texts: Sequence[str]) -> str:
        padded = (text.rjust(width) if end else text.ljust(width) for text, width, end in zip(texts, widths, right))
        return "  ".join(padded).rstrip()

    return "\n".join([line(keys), line(["-" * width for width in widths]), *(line(texts) for texts in cells)])


def surroundings() -> dict[str, Any]:
    """The machine, the versions and the revision that a figure belongs to."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"machine": machine(), "versions": versions, "git": revision(), "date": time.strftime("%Y-%m-%d")}


def machine() -> dict[str, Any]:
    """Processor, cores in use, threads, memory and accelerator, without the machine's name."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    return {
        "processor": _processor(),
        "cores": cpus(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": memory and round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def revision() -> str:
    """The commit, with ``+`` where tracked files differ from it."""
    folder = RESULTS.parent
    try:
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return (commit.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(json.dumps(surroundings(), indent=2))
