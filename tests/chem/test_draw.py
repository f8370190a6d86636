"""The picture of molecules: every atom is on it, nothing is mirrored, a flat molecule is seen flat."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molflow.build import UserError
from molflow.chem.draw import flatten, grid


def embedded(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return mol


def test_view_keeps_distances_and_handedness():
    pos = np.random.default_rng(0).normal(size=(7, 3))
    view = flatten(pos)
    pairs = np.linalg.norm(pos[:, None] - pos, axis=-1)
    assert np.allclose(np.linalg.norm(view[:, None] - view, axis=-1), pairs)
    volume = [np.linalg.det(x[1:4] - x[0]) for x in (pos, view)]
    assert volume[0] == pytest.approx(volume[1])


def test_benzene_lies_in_the_page():
    view = flatten(embedded("c1ccccc1").GetConformer().GetPositions())
    width, height, depth = view.max(0) - view.min(0)
    assert depth < 0.5 * min(width, height)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_grid_is_written(tmp_path, suffix, start):
    path = tmp_path / f"grid{suffix}"
    grid([embedded(s) for s in ("CCO", "[H][H]", "C#N", "[He]")], path, columns=3)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing temporary stays"


def test_grid_of_nothing_and_of_another_suffix(tmp_path):
    grid([], tmp_path / "empty.svg")
    with pytest.raises(UserError, match=r"grid\.gif: a picture is written as \.png or \.svg"):
        grid([], tmp_path / "grid.gif")
