"""What the examples in docstrings may use besides their own module: ``water``, a batch of one molecule."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def examples(doctest_namespace):
    import torch

    from molflow.batch import Batch

    pos = torch.tensor([[[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]])
    bond = torch.tensor([[[0, 1, 1], [1, 0, 0], [1, 0, 0]]])
    atom, mask = torch.tensor([[8, 1, 1]]), torch.ones(1, 3, dtype=torch.bool)
    doctest_namespace["water"] = Batch(pos, mask, atom=atom, charge=torch.zeros_like(atom), bond=bond)
