import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def elsewhere(monkeypatch):
    """``with elsewhere() as waits``: within, "meta" is a device with values (pretence.py)."""
    from pretence import elsewhere

    return lambda: elsewhere(monkeypatch)
