"""Molecules in notebooks, and pictures where there are none."""

from __future__ import annotations

import json

import pytest
import torch

import molflow
from molflow.batch import Batch
from molflow.build import UserError
from molflow.chem.rdkit import from_rdkit


@pytest.fixture(scope="module")
def batch(small_sdf) -> Batch:
    return from_rdkit(molflow.read(small_sdf))


def test_without_a_notebook_there_are_pictures(batch, small_sdf, tmp_path):
    for given in (batch, molflow.read(small_sdf), str(small_sdf), [batch[:5], batch[5:]]):
        assert repr(molflow.view(given)) == "Pictures(8 of 8 molecules)"
    pictures = batch.view(limit=3)
    assert len(pictures.mols) == 3
    assert pictures._repr_png_().startswith(b"\x89PNG")
    pictures.save(tmp_path / "grid.svg")
    assert "<svg" in (tmp_path / "grid.svg").read_text()
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        pictures.save(tmp_path / "grid.gif")


def test_the_widget_holds_the_molecules_and_their_figures(batch):
    widget = batch.view(widget=True)
    value = json.loads(widget.value)
    assert len(value["structures"]) == 8
    assert {"QED", "logP", "atoms", "stable atoms"} <= set(value["properties"])
    assert widget.settings["map"]["x"]["property"] == "logP"


def test_a_path_plays_its_states_in_order(batch):
    states = Batch.cat([batch[0].replace(pos=batch[0].pos * scale) for scale in (3.0, 2.0, 1.0)])
    widget = molflow.view(states, path=True, widget=True)
    frames = list(widget._structures_cache.values())
    reach = [max(map(abs, frame["x"])) for frame in frames]
    assert reach == sorted(reach, reverse=True) and len(reach) == 3


def test_a_batch_shows_itself(batch):
    shown = batch._repr_html_()
    assert repr(batch) in shown and "data:image/png;base64," in shown
    cloud = Batch.of_points(torch.randn(5, 9, 2))
    assert cloud._repr_html_() == f"<code>{cloud!r}</code>"
    with pytest.raises(UserError, match="no elements"):
        cloud.view()


@pytest.mark.parametrize("suffix", [".sdf", ".sdf.gz", ".xyz", ".smi", ".npz"])
def test_what_is_written_is_read(small_sdf, tmp_path, suffix):
    from rdkit import Chem

    mols = molflow.read(small_sdf)
    path = tmp_path / f"out{suffix}"
    molflow.write(mols, path)
    again = molflow.read(path)
    texts = [[Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))) for mol in group] for group in (mols, again)]
    assert texts[0] == texts[1]


def test_what_cannot_be_read_is_none(small_sdf, tmp_path):
    path = tmp_path / "broken.sdf"
    path.write_text("name\n\n\nnot a molecule\n$$$$\n" + small_sdf.read_text())
    assert [mol is None for mol in molflow.read(path)] == [True] + [False] * 8
