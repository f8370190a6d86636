"""What every test may ask for: the repository's root, the small set, the large data where it exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The workers of pytest-xdist share the cores; threads of their own, and of their subprocesses, would be in the way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def large_data() -> Path:
    """The folder of large sets beside the repository; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("MOLFLOW_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the large data sets are not here: {folder} (set MOLFLOW_DATA to their folder)")
    return folder
