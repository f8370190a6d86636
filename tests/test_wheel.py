"""The wheel holds the package and the shipped model, nothing else, and works where only it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from molflow.checkpoint import pretrained

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "runs", "scratch")
    shutil.copytree(ROOT, folder / "source", ignore=leave)
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, folder / "source"]
    run(sys.executable, *build, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_package_and_the_model_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        default = archive.getinfo("molflow/pretrained/qm9/model.safetensors").file_size
    assert {name.split("/")[0].split("-")[0] for name in names} == {"molflow"}
    assert "molflow/py.typed" in names
    for model in pretrained():
        assert {f"molflow/pretrained/{model}/{file}" for file in ("model.safetensors", "config.json")} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert default <= 16 * 2**20
    assert wheel.stat().st_size < 50e6


def test_wheel_samples_in_a_bare_environment(wheel, tmp_path):
    """An environment with the wheel in it and the dependencies beside it, but not this checkout."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    # A path in a .pth file is searched, but the .pth files there, such as an editable molflow's, are not read.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=tmp_path)
    where = run(python, "-c", "import molflow; print(molflow.__file__)", cwd=tmp_path)
    assert where.startswith(site)
    molflow = tmp_path / "env" / "bin" / "molflow"
    run(molflow, "sample", "small", "--n", "2", "--steps", "3", "--out", "two.sdf", cwd=tmp_path)
    assert (tmp_path / "two.sdf").read_text().count("$$$$") == 2
