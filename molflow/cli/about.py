"""What is installed here: versions, devices, models, plug-ins, and what each missing extra would add."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("torch", "torch-geometric", "rdkit", "e3nn", "POT", "lightning", "numpy", "scipy", "safetensors")
EXTRAS = {  # name in pyproject.toml -> (the modules it brings, what they add)
    "view": (("chemiscope", "matplotlib"), "HTML pages and widgets of molecules and runs, pictures"),
    "log": (("tensorboard",), "training curves in TensorBoard: train.logger=tensorboard"),
    "xtb": (("tblite",), "GFN2-xTB: molflow score --tier xtb, relax(method='GFN2')"),
    "metrics": (("posebusters",), "PoseBusters: molflow score --tier posebusters"),
    "fcd": (("fcd_torch",), "the Frechet ChemNet distance: molflow score --tier fcd"),
    "parquet": (("pyarrow",), "tables of molecules as .parquet: molflow score --per-molecule"),
    "ase": (("ase",), "Batch.to_ase"),
}


def about() -> Iterator[tuple[str, str]]:
    """Rows of a table."""
    import platform

    from molflow import __version__, plugins
    from molflow.checkpoint import WEIGHTS, pretrained

    root = Path(__file__).resolve().parent.parent
    yield "molflow", f"{__version__}, in {root}"
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    yield from _devices()
    yield "files", "no configuration and no cache of its own: downloads and unfinished work lie beside their output"
    yield "models", f"in {root / 'pretrained'}"
    for name, folder in pretrained().items():
        yield "", f"{name}: {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB (molflow info {name})"
    for what in plugins.GROUPS:
        for name, points in plugins.installed(what).items():
            yield f"{what} of", f"{' and '.join(map(plugins.owner, points))}: {name}"
    missing = [name for name, (modules, _) in EXTRAS.items() if not all(map(find_spec, modules))]
    yield "extras", ", ".join(name for name in EXTRAS if name not in missing) or "none installed"
    for name in missing:
        yield "missing", f"{name}: {EXTRAS[name][1]} (pip install 'molflow[{name}]')"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _devices() -> Iterator[tuple[str, str]]:

    import torch

    from molflow.device import pick_device
    from molflow.workers import cpus

    yield "devices", f"cpu: {cpus()} processors, {torch.get_num_threads()} threads"
    for k in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(k)
        yield "", f"cuda:{k}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "", "mps"
    yield "", f"--device auto takes {pick_device('auto')}"
